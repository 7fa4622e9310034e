//! What the queue holds, drops and gives, on either transport.

use super::*;

const BOUNDS: Bounds = Bounds { bytes: 100, age: Duration::from_secs(30) };

fn frame(length: usize) -> SharedFrame {
    SharedFrame::from_text(&"x".repeat(length))
}

fn payload(outbox: &mut Outbox, most: usize) -> Vec<u8> {
    outbox.take_payload(Dialect::V4, most).into_bytes()
}

fn on_the_wire(outbox: &Outbox) -> Vec<u8> {
    let mut slices = [IoSlice::new(&[]); 8];
    let filled = outbox.slices(&mut slices);
    slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect()
}

#[test]
fn one_frame_serves_both_transports() {
    for (length, header) in [(5, &[0x81, 5][..]), (126, &[0x81, 126, 0, 126]), (70_000, &[0x81, 127, 0, 0, 0, 0, 0, 1])]
    {
        let mut outbox = Outbox::default();
        outbox.push(frame(length), BOUNDS, Instant::now()).unwrap();
        assert!(on_the_wire(&outbox).starts_with(header), "{length}");
        assert!(on_the_wire(&outbox).ends_with(b"xxxxx"), "{length}");
        assert_eq!(payload(&mut outbox, 10), "x".repeat(length).into_bytes());
    }
}

#[test]
fn binary_packets_are_raw_on_a_websocket_and_base64_in_a_poll() {
    let mut outbox = Outbox::default();
    let now = Instant::now();
    outbox.push(SharedFrame::from_text("4a"), BOUNDS, now).unwrap();
    outbox.push(SharedFrame::binary(&[1, 2, 3, 4]), BOUNDS, now).unwrap();
    outbox.push(SharedFrame::control(&[0x8a, 0]), BOUNDS, now).unwrap();
    outbox.push(SharedFrame::binary_with(3, |buffer| buffer.extend([5, 6, 7])), BOUNDS, now).unwrap();
    assert_eq!(on_the_wire(&outbox), b"\x81\x024a\x82\x04\x01\x02\x03\x04\x8a\x00\x82\x03\x05\x06\x07");
    assert_eq!(payload(&mut outbox, 1000), b"4a\x1ebAQIDBA==\x1ebBQYH");
    assert!(outbox.is_empty());
}

#[test]
fn clients_of_revision_3_have_forms_of_their_own_and_share_what_is_text() {
    let frames = [SharedFrame::from_text("4ä"), SharedFrame::binary(&[1, 2, 3, 4]), SharedFrame::control(&[0x8a, 0])];
    let now = Instant::now();
    for (base64, wire, form, polled) in [
        (
            false,
            &b"\x81\x034\xc3\xa4\x82\x05\x04\x01\x02\x03\x04\x8a\x00"[..],
            Form::Binary,
            &b"\x00\x03\xff4\xc3\xa4\x01\x05\xff\x04\x01\x02\x03\x04"[..],
        ),
        (true, b"\x81\x034\xc3\xa4\x81\x0ab4AQIDBA==\x8a\x00", Form::Text, b"2:4\xc3\xa410:b4AQIDBA=="),
    ] {
        let dialect = Dialect::V3 { base64 };
        let mut outbox = Outbox::default();
        for frame in &frames {
            outbox.push(frame.in_dialect(dialect), BOUNDS, now).unwrap();
        }
        assert!(Arc::ptr_eq(&outbox.entries[0].frame.0, &frames[0].0), "text is shared");
        assert_eq!(on_the_wire(&outbox), wire);
        let body = outbox.take_payload(dialect, 1000);
        assert_eq!((body.form(), body.into_bytes().as_slice()), (form, polled));
    }
    // Bytes that were queued before the client said that it takes none.
    let mut outbox = Outbox::default();
    outbox.push(frames[1].in_dialect(Dialect::V3 { base64: false }), BOUNDS, now).unwrap();
    assert_eq!(outbox.take_payload(Dialect::V3 { base64: true }, 1000).into_bytes(), b"10:b4AQIDBA==");
    let shared = frames[1].in_dialect(Dialect::V4);
    assert!(Arc::ptr_eq(&shared.0, &frames[1].0), "and so is everything in revision 4");
}

#[test]
fn partial_writes_go_on_where_they_stopped() {
    let mut outbox = Outbox::default();
    for text in ["4one", "4two"] {
        outbox.push(SharedFrame::from_text(text), BOUNDS, Instant::now()).unwrap();
    }
    let whole = on_the_wire(&outbox);
    for written in 0..whole.len() {
        assert_eq!(on_the_wire(&outbox), whole[written..], "after {written}");
        outbox.advance(1);
    }
    assert!(outbox.is_empty());
}

#[test]
fn a_frame_is_compressed_once_for_all_who_take_it_and_read_plain_by_the_others() {
    let long = SharedFrame::from_text(&format!("4{}", "over and over ".repeat(200)));
    let to = |deflates| {
        let mut outbox = Outbox::default();
        outbox.set_deflates(deflates);
        for frame in [&long, &SharedFrame::from_text("4short"), &SharedFrame::control(&[0x8a, 0]), &long] {
            outbox.push(frame.clone(), Bounds { bytes: 10_000, ..BOUNDS }, Instant::now()).unwrap();
        }
        outbox
    };
    let mut plain = to(false);
    assert!(long.0.deflated.get().is_none() && on_the_wire(&plain).starts_with(&[0x81, 126]));
    let mut deflated = to(true);
    let whole = on_the_wire(&deflated);
    assert!(whole.starts_with(&[0xc1]) && whole.len() < 200, "{}", whole.len());
    let copies: Vec<_> =
        [to(true), to(true)].iter().map(|outbox| outbox.entries[0].frame.bytes(true).as_ptr()).collect();
    assert_eq!(copies, [long.bytes(true).as_ptr(); 2], "the same bytes for everybody");
    for written in 0..whole.len() {
        assert_eq!(on_the_wire(&deflated), whole[written..], "after {written}");
        deflated.advance(1);
    }
    assert!(deflated.is_empty() && deflated.bytes == 0);
    assert_eq!(payload(&mut to(true), 10_000), payload(&mut plain, 10_000), "a poll's answer is compressed as a whole");
}

#[test]
fn volatile_frames_go_first_and_then_the_client() {
    let now = Instant::now();
    let mut outbox = Outbox::default();
    outbox.push(frame(38), BOUNDS, now).unwrap();
    assert!(outbox.push_volatile(frame(38), BOUNDS, now));
    assert!(!outbox.push_volatile(frame(38), BOUNDS, now), "full: the new volatile frame is dropped");
    outbox.push(frame(38), BOUNDS, now).unwrap();
    assert_eq!(on_the_wire(&outbox).len(), 80, "the queued volatile frame made room");
    assert_eq!(outbox.push(frame(38), BOUNDS, now), Err(SlowConsumer));
    assert_eq!(outbox.deadline(BOUNDS), Some(now + BOUNDS.age));
}

#[test]
fn a_half_written_volatile_frame_is_not_dropped() {
    let now = Instant::now();
    let mut outbox = Outbox::default();
    assert!(outbox.push_volatile(frame(58), BOUNDS, now));
    outbox.advance(10);
    assert_eq!(outbox.push(frame(58), BOUNDS, now), Err(SlowConsumer));
    assert_eq!(on_the_wire(&outbox).len(), 50);
}

#[test]
fn a_large_frame_fits_into_an_empty_outbox_and_polls_are_cut_at_max_payload() {
    let now = Instant::now();
    let mut outbox = Outbox::default();
    outbox.push(frame(1000), BOUNDS, now).unwrap();
    assert_eq!(payload(&mut outbox, 100).len(), 1000);
    for _ in 0..3 {
        outbox.push(frame(20), BOUNDS, now).unwrap();
    }
    assert_eq!(payload(&mut outbox, 41).len(), 41);
    assert_eq!(payload(&mut outbox, 41).len(), 20);
}
