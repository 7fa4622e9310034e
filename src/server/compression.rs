//! Compressed answers to polls: gzip or deflate (RFC 9110, 8.4.1), when a client takes them and there is much to say.
//!
//! Owns the choice and the work, which must not cost a core its breath nor memory without a bound: one compressor per
//! core at the fastest level, fed a piece at a time, with the core free to serve others between two pieces. Whoever comes
//! while it is at work is answered as is, which also spares a busy core.

use flate2::{Compress, Compression, Crc, FlushCompress, Status};
use hyper::header::{self, HeaderMap};

/// Shorter answers are left alone: the threshold of the reference server's `httpCompression`.
pub(crate) const LEAST_BYTES: usize = 1024;

/// How much is compressed at a time: 0.11 ms of work where 1 MB of chat messages takes 2.7 ms.
const PIECE_BYTES: usize = 64 * 1024;

/// A way to compress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    /// RFC 1952.
    Gzip,
    /// RFC 1950: what HTTP calls deflate has the zlib format's header.
    Deflate,
}

impl Coding {
    /// Its name in `Content-Encoding`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        }
    }

    /// The one that the client likes best, gzip before deflate when it likes both the same. `None` when it has not asked
    /// for either.
    pub(crate) fn choose(headers: &HeaderMap) -> Option<Self> {
        let (mut gzip, mut deflate, mut other) = (None, None, None);
        for value in headers.get_all(header::ACCEPT_ENCODING) {
            for item in value.to_str().ok()?.split(',') {
                let (name, parameters) = item.split_once(';').unwrap_or((item, ""));
                let slot = match name.trim().to_ascii_lowercase().as_str() {
                    "gzip" => &mut gzip,
                    "deflate" => &mut deflate,
                    "*" => &mut other,
                    _ => continue,
                };
                *slot = Some(quality(parameters)?);
            }
        }
        let [gzip, deflate] = [gzip, deflate].map(|quality| quality.or(other).unwrap_or(0));
        match gzip >= deflate {
            true if gzip > 0 => Some(Self::Gzip),
            false => Some(Self::Deflate),
            true => None,
        }
    }
}

/// `q=0.5` in thousandths (RFC 9110, 12.4.2); without it, 1. `None` when it is something else.
fn quality(parameters: &str) -> Option<u16> {
    let parameters = parameters.trim();
    if parameters.is_empty() {
        return Some(1000);
    }
    let (name, value) = parameters.split_once('=')?;
    let (whole, digits) = value.split_once('.').unwrap_or((value, ""));
    let is_number =
        whole.len() == 1 && digits.len() <= 3 && (whole.bytes().chain(digits.bytes())).all(|b| b.is_ascii_digit());
    let thousandths = format!("{whole}{digits:0<3}").parse().ok().filter(|_| is_number)?;
    (name.trim().eq_ignore_ascii_case("q") && thousandths <= 1000).then_some(thousandths)
}

/// The compressor of a core. Each coding's state, 260 KB, is made when it is first needed and kept.
#[derive(Debug, Default)]
pub(crate) struct Compressor {
    gzip: Option<Compress>,
    deflate: Option<Compress>,
}

impl Compressor {
    /// The compressed body; `None` when that would be no shorter. Lets other tasks run between two pieces.
    pub(crate) async fn compress(&mut self, coding: Coding, body: &[u8]) -> Option<Vec<u8>> {
        let (state, has_zlib_header) = match coding {
            Coding::Gzip => (&mut self.gzip, false),
            Coding::Deflate => (&mut self.deflate, true),
        };
        let state = state.get_or_insert_with(|| Compress::new(Compression::fast(), has_zlib_header));
        // Also after a client that left in the middle.
        state.reset();
        // What would not fit is longer than the body itself.
        let mut out = Vec::with_capacity(body.len());
        let mut crc = Crc::new();
        if coding == Coding::Gzip {
            // Deflate, no flags, no time, fastest, of an unknown system (RFC 1952, 2.3).
            out.extend_from_slice(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255]);
        }
        for piece in body.chunks(PIECE_BYTES) {
            if state.total_in() > 0 {
                tokio::task::yield_now().await;
            }
            crc.update(piece);
            let before = state.total_in();
            state.compress_vec(piece, &mut out, FlushCompress::None).ok()?;
            if state.total_in() - before < piece.len() as u64 {
                return None;
            }
        }
        if state.compress_vec(&[], &mut out, FlushCompress::Finish).ok()? != Status::StreamEnd {
            return None;
        }
        if coding == Coding::Gzip {
            out.extend_from_slice(&crc.sum().to_le_bytes());
            out.extend_from_slice(&crc.amount().to_le_bytes());
        }
        (out.len() < body.len()).then(|| {
            // It may wait long for a slow client.
            out.shrink_to_fit();
            out
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use hyper::header::HeaderValue;

    #[test]
    fn the_coding_is_the_one_that_the_client_likes_best() {
        use Coding::{Deflate, Gzip};
        for (accepted, expected) in [
            ("gzip, deflate, br, zstd", Some(Gzip)),
            ("deflate, gzip", Some(Gzip)),
            ("GZip", Some(Gzip)),
            ("deflate", Some(Deflate)),
            ("gzip;q=0.5, deflate;q=0.8", Some(Deflate)),
            ("gzip;q=0, deflate", Some(Deflate)),
            ("gzip;q=0", None),
            ("gzip; q=0.000", None),
            ("*", Some(Gzip)),
            ("*;q=0.1, gzip;q=0", Some(Deflate)),
            ("gzip;Q=1.000", Some(Gzip)),
            ("br, identity", None),
            ("", None),
            ("gzip;q=2", None),
            ("gzip;q=0.1234", None),
            ("gzip;q=-1", None),
            ("gzip;level=9", None),
            ("xgzip, gzipx", None),
        ] {
            let headers = [(header::ACCEPT_ENCODING, HeaderValue::from_static(accepted))].into_iter().collect();
            assert_eq!(Coding::choose(&headers), expected, "{accepted}");
        }
        assert_eq!(Coding::choose(&HeaderMap::new()), None);
    }

    fn inflated(coding: Coding, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        match coding {
            Coding::Gzip => flate2::read::GzDecoder::new(bytes).read_to_end(&mut out).unwrap(),
            Coding::Deflate => flate2::read::ZlibDecoder::new(bytes).read_to_end(&mut out).unwrap(),
        };
        out
    }

    #[tokio::test]
    async fn what_is_compressed_is_what_was_given_whatever_came_before() {
        let mut compressor = Compressor::default();
        let words = |count: u32| (0..count).flat_map(|n| format!("42[\"message:new\",{n}]\x1e").into_bytes()).collect();
        let noise: Vec<u8> = (0..100_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let bodies: [Vec<u8>; 4] = [words(100), words(40_000), vec![b'x'; 1_000_000], noise.repeat(3)];
        for coding in [Coding::Gzip, Coding::Deflate] {
            for body in bodies.iter().chain(&bodies) {
                let compressed = compressor.compress(coding, body).await.unwrap();
                assert!(compressed.len() < body.len() && compressed.capacity() == compressed.len());
                assert_eq!(inflated(coding, &compressed), *body);
            }
        }
    }

    #[tokio::test]
    async fn what_does_not_get_shorter_is_left_as_it_is() {
        let mut state = 1_u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        let mut compressor = Compressor::default();
        for length in [0, 1, 1024, PIECE_BYTES, PIECE_BYTES + 1, 300_000] {
            let body: Vec<u8> = (0..length).map(|_| random()).collect();
            assert_eq!(compressor.compress(Coding::Gzip, &body).await, None, "{length}");
        }
    }

    #[tokio::test]
    async fn others_are_served_between_two_pieces_and_a_client_that_leaves_spoils_nothing() {
        let mut compressor = Compressor::default();
        let body = b"abcdefgh".repeat(3 * PIECE_BYTES / 8);
        let mut turns = 0;
        let others = async {
            loop {
                turns += 1;
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            biased;
            compressed = compressor.compress(Coding::Gzip, &body) => assert!(compressed.is_some()),
            () = others => {}
        }
        assert_eq!(turns, 2, "three pieces");
        let half = compressor.compress(Coding::Gzip, &body);
        tokio::select! { biased; _ = half => panic!("in one go"), () = std::future::ready(()) => {} }
        let compressed = compressor.compress(Coding::Gzip, b"after it, after it, after it, after it").await.unwrap();
        assert_eq!(inflated(Coding::Gzip, &compressed), b"after it, after it, after it, after it");
    }
}
