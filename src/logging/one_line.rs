//! One event, one line.
//!
//! Owns the last look at what goes out. tracing-subscriber escapes most of what moves a terminal's cursor
//! (CVE-2025-58160), but not in values that are displayed, and it leaves what breaks a line or turns it around. Room ids,
//! names and headers are other people's, and a line of the log is not theirs to begin.

use std::io;

use tracing::Metadata;
use tracing_subscriber::fmt::MakeWriter;

/// Makes writers that are handed whole events, each with the line feed that ends it, as the formatting layer does.
#[derive(Clone, Debug)]
pub(super) struct OneLine<M> {
    pub(super) inner: M,
    /// Whether the formatting layer colours the lines.
    pub(super) colour: bool,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Writer<W> {
    inner: W,
    colour: bool,
}

impl<'w, M: MakeWriter<'w>> MakeWriter<'w> for OneLine<M> {
    type Writer = Writer<M::Writer>;

    fn make_writer(&'w self) -> Self::Writer {
        Writer { inner: self.inner.make_writer(), colour: self.colour }
    }

    fn make_writer_for(&'w self, metadata: &Metadata<'_>) -> Self::Writer {
        Writer { inner: self.inner.make_writer_for(metadata), colour: self.colour }
    }
}

impl<W: io::Write> io::Write for Writer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let line = text.strip_suffix('\n').unwrap_or(&text);
        if line.contains(is_unruly) {
            let line = escaped(line, self.colour) + "\n";
            self.inner.write_all(line.as_bytes())?;
        } else {
            self.inner.write_all(bytes)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Whether a character ends a line for somebody, moves the cursor, or has the line read backwards.
fn is_unruly(c: char) -> bool {
    match c {
        '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{61c}' => true,
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        c => c.is_control() && c != '\t',
    }
}

/// The escapes of JSON, which mean the same inside a JSON text and are as good as any outside. In a coloured line, colours
/// stay: those of others are no more than that.
fn escaped(line: &str, colour: bool) -> String {
    let mut text = String::with_capacity(line.len() + 16);
    for (at, c) in line.char_indices() {
        if is_unruly(c) && !(colour && line.get(at..).is_some_and(begins_with_colour)) {
            text.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            text.push(c);
        }
    }
    text
}

/// ECMA-48, 8.3.117: select graphic rendition.
fn begins_with_colour(text: &str) -> bool {
    text.strip_prefix("\u{1b}[")
        .is_some_and(|text| text.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';').starts_with('m'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a9_colours_stay_in_a_coloured_line_and_nothing_else_does() {
        let line = "\u{1b}[32m INFO\u{1b}[0m name=\u{1b}[2J\u{1b}[1;31mERROR\u{1b}]0;title\u{7}\n\u{1b}";
        let kept = "\u{1b}[32m INFO\u{1b}[0m name=\\u001b[2J\u{1b}[1;31mERROR\\u001b]0;title\\u0007\\u000a\\u001b";
        assert_eq!(escaped(line, true), kept);
        assert_eq!(escaped(line, false), kept.replace('\u{1b}', "\\u001b"));
    }
}
