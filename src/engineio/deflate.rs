//! Compressed WebSocket messages: permessage-deflate (RFC 7692), without context from one message to the next.
//!
//! Owns the negotiation and both directions of one message. As neither side keeps a window between messages, a connection
//! holds nothing, a message that many receive is compressed once, and what a client sends is inflated by a state that
//! goes with the message. Pure: the compressor is given.

use flate2::{Compress, Decompress, FlushCompress, FlushDecompress, Status};

use super::error::FrameError;

/// The name of the extension and what is agreed on, for `Sec-WebSocket-Extensions` of the answer.
pub const AGREED: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// Shorter messages are sent as they are: the threshold of the reference server's `perMessageDeflate`.
pub const LEAST_BYTES: usize = 1024;

/// What a flush ends with; it does not travel (section 7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// An empty last block. Only behind the end of another block does it end the stream.
const LAST_BLOCK: [u8; 5] = [1, 0, 0, 0xff, 0xff];

/// Whether one of the offers in the values of `Sec-WebSocket-Extensions` can be taken up with [`AGREED`]. The inflater
/// takes any window, the compressor always uses the largest, so an offer that asks for a smaller one is passed over, as
/// is one that is not understood whole (section 5.1).
pub fn is_offered<'h>(values: impl IntoIterator<Item = &'h [u8]>) -> bool {
    values
        .into_iter()
        .filter_map(|value| std::str::from_utf8(value).ok())
        .flat_map(|value| value.split(','))
        .any(is_good)
}

fn is_good(offer: &str) -> bool {
    let mut parts = offer.split(';').map(str::trim);
    let mut seen = [false; 4];
    parts.next() == Some("permessage-deflate")
        && parts.all(|parameter| {
            let (name, value) =
                parameter.split_once('=').map_or((parameter, None), |(name, value)| (name, Some(value)));
            let [server_context, client_context, server_bits, client_bits] = &mut seen;
            let (is_seen, is_right) = match name {
                "server_no_context_takeover" => (server_context, value.is_none()),
                "client_no_context_takeover" => (client_context, value.is_none()),
                "server_max_window_bits" => (server_bits, value == Some("15")),
                "client_max_window_bits" => (client_bits, value.is_none_or(is_window)),
                _ => return false,
            };
            !std::mem::replace(is_seen, true) && is_right
        })
}

fn is_window(bits: &str) -> bool {
    matches!(bits, "8" | "9" | "10" | "11" | "12" | "13" | "14" | "15")
}

/// A message's payload, compressed; `None` when that is no shorter. `state` makes raw deflate, and is reset before.
pub fn deflate(state: &mut Compress, payload: &[u8]) -> Option<Vec<u8>> {
    state.reset();
    let mut out = Vec::with_capacity(payload.len());
    state.compress_vec(payload, &mut out, FlushCompress::Sync).ok()?;
    // With room to spare, the flush was not cut short.
    let is_whole = state.total_in() == payload.len() as u64 && out.len() < out.capacity() && out.ends_with(&TAIL);
    out.truncate(out.len().saturating_sub(TAIL.len()));
    is_whole.then_some(out)
}

/// What a client compressed. Memory grows with the output and never beyond `most` bytes by more than one.
///
/// # Errors
/// [`FrameError::MessageTooBig`] as soon as there are more than `most` bytes, and [`FrameError::InvalidDeflate`] for what
/// is no deflate stream, or not all of one.
pub fn inflate(payload: &[u8], most: usize) -> Result<Vec<u8>, FrameError> {
    let limit = most.saturating_add(1);
    let mut state = Decompress::new(false);
    let mut out = Vec::with_capacity(payload.len().saturating_mul(4).clamp(64, limit.max(64)));
    for piece in [payload, &TAIL, &LAST_BLOCK] {
        let mut rest = piece;
        loop {
            let (read, written) = (state.total_in(), state.total_out());
            let status = state.decompress_vec(rest, &mut out, FlushDecompress::None);
            if out.len() > most {
                return Err(FrameError::MessageTooBig);
            }
            if status.map_err(|_| FrameError::InvalidDeflate)? == Status::StreamEnd {
                return Ok(out);
            }
            let consumed = usize::try_from(state.total_in() - read).unwrap_or(usize::MAX);
            rest = rest.get(consumed..).unwrap_or_default();
            if out.len() == out.capacity() {
                out.reserve_exact(out.len().clamp(64, limit.saturating_sub(out.len()).max(64)));
            } else if rest.is_empty() || (consumed == 0 && state.total_out() == written) {
                break;
            }
        }
    }
    Err(FrameError::InvalidDeflate)
}

#[cfg(test)]
mod tests {
    use flate2::Compression;

    use super::*;

    fn deflated(payload: &[u8]) -> Vec<u8> {
        deflate(&mut Compress::new(Compression::fast(), false), payload).unwrap()
    }

    #[test]
    fn w11_offers_are_taken_or_passed_over_and_never_misread() {
        let flood = "permessage-deflate;".repeat(10_000);
        for (values, expected) in [
            (&["permessage-deflate"][..], true),
            (&["permessage-deflate; client_max_window_bits"], true),
            (&["permessage-deflate; client_max_window_bits=10;server_max_window_bits=15"], true),
            (&["permessage-deflate;server_no_context_takeover ; client_no_context_takeover"], true),
            (&["permessage-deflate; server_max_window_bits=10, permessage-deflate"], true),
            (&["x-webkit-deflate-frame", "permessage-deflate"], true),
            (&[], false),
            (&[""], false),
            (&["constructor"], false),
            (&["permessage-deflate; constructor"], false),
            (&["permessage-deflate; server_max_window_bits=0"], false),
            (&["permessage-deflate; server_max_window_bits=7"], false),
            (&["permessage-deflate; server_max_window_bits=8"], false),
            (&["permessage-deflate; server_max_window_bits=16"], false),
            (&["permessage-deflate; server_max_window_bits=9999"], false),
            (&["permessage-deflate; server_max_window_bits"], false),
            (&["permessage-deflate; client_max_window_bits=7"], false),
            (&["permessage-deflate; client_max_window_bits=015"], false),
            (&["permessage-deflate; client_max_window_bits="], false),
            (&["permessage-deflate; client_max_window_bits; client_max_window_bits"], false),
            (&["permessage-deflate; server_no_context_takeover=1"], false),
            (&["permessage-deflate;"], false),
            (&[&flood], false),
        ] {
            assert_eq!(is_offered(values.iter().map(|value| value.as_bytes())), expected, "{values:.100?}");
        }
        assert!(!is_offered([b"\x80".as_slice()]));
    }

    #[test]
    fn the_examples_of_rfc_7692_are_read() {
        for payload in [
            &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00][..],
            &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00],
            &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
            &[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00],
        ] {
            assert_eq!(inflate(payload, 5), Ok(b"Hello".to_vec()), "{payload:x?}");
            assert_eq!(inflate(payload, 4), Err(FrameError::MessageTooBig), "{payload:x?}");
        }
        assert_eq!(inflate(&[0], 0), Ok(Vec::new()));
    }

    #[test]
    fn what_is_compressed_is_read_again_and_nothing_is_remembered() {
        let mut state = Compress::new(Compression::fast(), false);
        for length in [1024, 65_535, 300_000, 1_000_000] {
            let payload: Vec<u8> = (0..length).map(|n: usize| b"4message:new"[n * n / 7 % 12]).collect();
            let first = deflate(&mut state, &payload).unwrap();
            assert_eq!(deflate(&mut state, &payload), Some(first.clone()));
            assert_eq!(inflate(&first, payload.len()), Ok(payload));
        }
        let noise: Vec<u8> = {
            let mut seed = 1_u64;
            let mut next = || {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (seed >> 56) as u8
            };
            (0..100_000).map(|_| next()).collect()
        };
        assert_eq!(deflate(&mut state, &noise), None);
    }

    #[test]
    fn w14_a_bomb_is_cut_off_at_the_limit_whatever_it_would_become() {
        for inflated in [4096, 16 << 20] {
            let bomb = deflated(&vec![b'4'; inflated]);
            assert!(bomb.len() < inflated / 50, "{}", bomb.len());
            assert_eq!(inflate(&bomb, 4000), Err(FrameError::MessageTooBig));
            assert_eq!(inflate(&bomb, 1_000_000).is_ok(), inflated < 1_000_000);
        }
        // Blocks that say nothing are nothing.
        let empty = [[0, 0, 0, 0xff, 0xff].repeat(100_000), vec![0]].concat();
        assert_eq!(inflate(&empty, 10), Ok(Vec::new()));
    }

    #[test]
    fn w14_what_is_cut_short_or_no_stream_at_all_is_refused() {
        let whole = deflated(&b"42[\"message:send\",{\"roomId\":\"r\",\"content\":\"hello\"}]".repeat(3));
        for length in 0..whole.len() {
            assert_eq!(inflate(&whole[..length], 1000), Err(FrameError::InvalidDeflate), "{length}");
        }
        for payload in [&b"\xff\xff\xff"[..], b"\x06", b"hello", b"\x00\x05\x00\xfa\xffHel"] {
            assert_eq!(inflate(payload, 1000), Err(FrameError::InvalidDeflate), "{payload:x?}");
        }
    }
}
