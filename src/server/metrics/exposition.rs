//! The text format of Prometheus, version 0.0.4.
//!
//! Owns how a metric is written. Pure; knows no metric by name.

use std::fmt::{Display, Write as _};

/// What a page of this format is declared as.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A page in the making. Each family of metrics is to be added once.
#[derive(Debug, Default)]
pub(crate) struct Exposition(String);

impl Exposition {
    /// A number that only goes up. Its name ends with `_total`.
    pub(crate) fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, "counter", help);
        self.sample(name, None, value);
    }

    /// A number that goes up and down.
    pub(crate) fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, "gauge", help);
        self.sample(name, None, value);
    }

    /// Numbers that only go up, one for each value of a label.
    pub(crate) fn counters(&mut self, name: &str, help: &str, label: &str, values: &[(&str, u64)]) {
        self.family(name, "counter", help);
        for (of, value) in values {
            self.sample(name, Some((label, of)), value);
        }
    }

    /// Numbers that go up and down, one for each value of a label.
    pub(crate) fn gauges(&mut self, name: &str, help: &str, label: &str, values: &[(&str, u64)]) {
        self.family(name, "gauge", help);
        for (of, value) in values {
            self.sample(name, Some((label, of)), value);
        }
    }

    /// The page.
    pub(crate) fn finish(self) -> String {
        self.0
    }

    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        // Writing to a string does not fail.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn sample(&mut self, name: &str, label: Option<(&str, &str)>, value: impl Display) {
        let _ = match label {
            None => writeln!(self.0, "{name} {value}"),
            Some((label, of)) => {
                let of = of.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
                writeln!(self.0, "{name}{{{label}=\"{of}\"}} {value}")
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_the_help_the_type_and_the_samples_of_each_family_in_this_order() {
        let mut page = Exposition::default();
        page.counter("a_total", "How many a.", 5);
        page.gauge("b", "Seconds of b.", 0.25);
        page.counters("c_total", "By d.", "d", &[("one", 1), ("two", 2)]);
        page.gauges("e", "By f.", "f", &[("g", 7)]);
        let expected = "# HELP a_total How many a.\n# TYPE a_total counter\na_total 5\n\
                        # HELP b Seconds of b.\n# TYPE b gauge\nb 0.25\n\
                        # HELP c_total By d.\n# TYPE c_total counter\nc_total{d=\"one\"} 1\nc_total{d=\"two\"} 2\n\
                        # HELP e By f.\n# TYPE e gauge\ne{f=\"g\"} 7\n";
        assert_eq!(page.finish(), expected);
    }

    #[test]
    fn what_the_format_means_something_by_is_escaped() {
        let mut page = Exposition::default();
        page.counters("a_total", "a \\ and\na line", "b", &[("\"x\\y\nz\"", 1)]);
        let expected = "# HELP a_total a \\\\ and\\na line\n# TYPE a_total counter\n\
                        a_total{b=\"\\\"x\\\\y\\nz\\\"\"} 1\n";
        assert_eq!(page.finish(), expected);
    }
}
