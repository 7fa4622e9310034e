#!/usr/bin/env python3
"""Writes corpus-seeds/: a few inputs per target from which a fuzzer gets everywhere sooner.

They are the cases of the unit tests, in the layout that each target's module describes. Run it after a change and commit
what it wrote; a file that is no longer made here is removed.
"""

import base64
import hashlib
import hmac
import itertools
import pathlib
import shutil
import struct

ROOT = pathlib.Path(__file__).parent / "corpus-seeds"
PLACEHOLDER = '{"_placeholder":true,"num":%d}'
SECRET = b"0123456789abcdef0123456789abcdef"


def engineio_packet():
    texts = ["", "1", "2", "2probe", "2x", "3", "4", "4€", "5", "bAQIDBA==", "bAQIDBA", "b4AQIDBA==", "b1", "byA=", '0{"sid":"x"}', "6", "7"]
    for revision, text in itertools.product([0, 1], texts):
        yield bytes([revision]) + text.encode()
    for packet in [b"", b"\x01", b"\x04data", b"\x00", b"\x07"]:
        yield b"\x02" + packet


def payload_v4():
    yield from [b"", b"4a", b"4a\x1e4b\x1e2probe", b"4a\x1ebAQID\x1e5", b"4a\x00\x01\x02\x004b", b"\x1e\x1e", b"4x\x1e7\x1e4y"]
    yield b"\x1e".join([b"3"] * 1024)
    yield b"\x1e".join([b"3"] * 1025)


def payload_v3():
    for body in ["6:4hello", "6:4hello6:4world6:2probe", "3:4é€", "6:4👩‍🚀1:2", "6:4hello10:b4AQIDBA==", "2:b4", "01:4", "9:4", "1:9:"]:
        yield b"\x00" + body.encode()
    yield b"\x00" + b"1:3" * 1024
    yield b"\x00" + b"1:3" * 1025
    for body in [b"\x00\x06\xff4hello", b"\x01\x05\xff\x04\x01\x02\x03\x04\x00\x04\xff4\xe2\x82\xac", b"\x00\x01\x01\xff4abcdefghij", b"\x02\x01\xff4"]:
        yield b"\x01" + body


def frame(first, payload, mask=b"\x37\xfa\x21\x3d"):
    length = len(payload)
    if length < 126:
        head = bytes([first, 0x80 | length])
    else:
        head = bytes([first, 0x80 | 126]) + struct.pack(">H", length)
    return head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


def websocket_frames():
    hello = bytes.fromhex("f248cdc9c90700")
    streams = {
        0: [
            frame(0x81, b"Hello"),
            frame(0x01, b"Hel") + frame(0x89, b"p") + frame(0x80, b"lo"),
            frame(0x02, b"") + frame(0x00, b"x") + frame(0x8A, b"q") + frame(0x80, b""),
            frame(0x88, struct.pack(">H", 1000) + b"bye") + frame(0x81, b"late"),
            frame(0x88, b""),
            frame(0x88, b"\x03"),
            frame(0x88, struct.pack(">H", 1005)),
            frame(0x81, b"\xc3\x28"),
            frame(0x01, b"\xe2\x82") + frame(0x80, b"\xac"),
            frame(0x81, b"x" * 126),
            b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff" + bytes(4),
            b"\x81\x05Hello",
            b"test",
            frame(0x80, b"x"),
            frame(0x01, b"a") + frame(0x01, b"b"),
            frame(0x01, b"") + frame(0x00, b"", bytes(4)) * 1024,
        ],
        2: [
            frame(0xC1, hello),
            frame(0x41, hello[:3]) + frame(0x80, hello[3:]),
            frame(0xC2, b"\x00"),
            frame(0xC1, b"hello"),
            frame(0xC9, b""),
        ],
    }
    for choice, list_of in streams.items():
        for at, stream in enumerate(list_of):
            yield bytes([choice, at % 4, at * 37 % 256]) + stream
            # Whatever its length, it may pass.
            yield bytes([choice, 3, at]) + stream
    for choice in [1, 3]:
        # In the layout of the crate arbitrary: one text of so many bytes in fragments of one, deflated if that may be.
        for length in [1000, 1024, 1025]:
            message = b"\x01" + bytes(4) + b"a" * length + b"\x01\x00" + b"mask" + b"\x00\x01"
            yield bytes([choice, 0, 99]) + message + struct.pack(">H", length)
        yield bytes([choice, 0, 99]) + bytes(range(256))
        yield bytes([choice, 0, 5]) + b"\x01\x01\x00\x02\x00\x01hello\x00there" * 6


def messages(choice, *list_of):
    """Text, or bytes for a binary message; a pair begins with other flags."""
    out = bytes([choice])
    for message in list_of:
        flags, message = message if isinstance(message, tuple) else (0, message)
        if isinstance(message, str):
            message = message.encode()
        else:
            flags |= 1
        out += bytes([flags]) + struct.pack("<H", len(message)) + message
    return out


def socketio_decode():
    one, two = PLACEHOLDER % 0, PLACEHOLDER % 1
    for talk in [
        ["0", '2["foo"]', '212["foo",1,{"a":[true,null]}]', '3["x"]', "37[]", "1"],
        ['0/admin,{"token":"123"}', '2/admin,1["tellme"]', "3/admin,13[]", "1/admin,", '2/admin,["x"]'],
        ["0", f'51-["baz",{one}]', b"\x01", f'52-["baz",{two},{{"a":{one}}}]', b"\x01", b"\x02"],
        ["0", f'61-15["bar",{one}]', b"", f"61-[{one}]", b"x"],
        ["0", f'51-["late",{one}]', (4, b"x")],
        ["0", f'51-["twice",{one},{one}]', b"x"],
        ["0", '5999999999999-["a"]'],
        ["0", f'511-["a",{one}]'],
        ["0", '511-["a",' + ",".join(PLACEHOLDER % num for num in range(11)) + "]"],
        ["0", '510-["a",' + ",".join(PLACEHOLDER % num for num in range(10)) + "]", *[b"x"] * 10],
        ["0", '50-["a"]'],
        ["0", f'51-["a",{one}]', '2["b"]'],
        ["0", b"x"],
        ["0", "0"],
        [(2, "0"), "0", "0/a,", "0/b,", "0/c,", "0/d,"],
        ["0/unknown,"] * 17,
        ['2["early"]'],
        ["0", '2["a",' + "[" * 32 + "]" * 32 + "]"],
        ["0", '2["a",' + "[" * 31 + "]" * 31 + "]"],
        ["0", '2["\\ud800"]'],
        ["0", '2["a","\\ud800\\"[",{"a":1,"a":2}]'],
        ["0", '218446744073709551615["a"]'],
    ]:
        yield messages(0, *talk)
    yield messages(2, '2["joined already"]', "0", "0/admin?token=x,", '2/admin,["x"]', "1")
    connect, event = "83a47479706500a464617461d40000a36e7370a12f", "84a47479706502a46461746194a368657901ffcb3ff8000000000000a76f7074696f6e7381a8636f6d7072657373c3a36e7370a12f"
    yield messages(1, bytes.fromhex(connect), bytes.fromhex(event))
    yield messages(3, bytes.fromhex(event), bytes.fromhex("82a47479706501a36e7370a12f"))


def socketio_round_trip():
    yield b""
    for step in [1, 3, 7, 11, 29]:
        yield bytes(at * step % 256 for at in range(400))
    yield b"\x01hello\x00there" * 20


def msgpack():
    for message in [
        "83a47479706500a464617461d40000a36e7370a12f",
        "83a47479706500a46461746181a5746f6b656ea3313233a36e7370a62f61646d696e",
        "82a47479706501a36e7370a12f",
        "84a47479706502a46461746194a368657901ffcb3ff8000000000000a76f7074696f6e7381a8636f6d7072657373c3a36e7370a12f",
        "85a47479706502a46461746191a3686579a76f7074696f6e7381a8636f6d7072657373c3a26964cd012ca36e7370a12f",
        "83a47479706502a36e7370a12fa46461746196a3686579a44a75646501908081a16193c3c2c0",
        "83a47479706502a36e7370a12fa46461746193a362617ac40301020381a161c40104",
        "84a47479706503a36e7370a62f61646d696ea26964ce00010000a46461746191c400",
    ]:
        yield bytes.fromhex(message)
    argument = b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x92\xa1e"
    for value in ["d40000", "d7000000000000000000", "d700ffffffffffffffff", "c7030001ff00", "cb7ff8000000000000", "cb44b52d02c7e14af6", "ca3f800000", "cfffffffffffffffff", "d38000000000000000", "d1ff00", "d2ffff0000", "d080", "81a162d1fe00", "82a16101a16102", "d9026869", "dc000190", "df00000000", "82a16101a162d40000", "81ac5f706c616365686f6c646572c3"]:
        yield argument + bytes.fromhex(value)
    yield argument + b"\x91" * 31 + b"\x90"
    yield argument + b"\x91" * 32 + b"\x90"
    yield argument + b"\x91" * 30 + b"\xc4\x01x"


EVENTS = ["room:join", "room:leave", "message:send", "message:history", "message:delivered", "message:read", "typing:start", "typing:stop", "presence:update"]


def chat_command():
    message = '"messageId":"65b0f1a2c3d4e5f601020304"'
    for event, argument in [
        ("room:join", '{"roomId":5,"since":7}'),
        ("room:join", '{"roomId":"\\u0000"}'),
        ("room:leave", '{"roomId":null,"conversationId":"r"}'),
        ("message:send", '{"roomId":"r","content":"hi","tempId":1e2,"clientMsgId":"c","userId":9,"type":"image"}'),
        ("message:send", '{"roomId":"r","attachments":[{"url":"u","size":1.50},{"path":"C:\\\\u0000"}]}'),
        ("message:send", '{"roomId":"r","attachments":[{"name":"a\\u0000.png"}]}'),
        ("message:send", '{"roomId":"r","attachments":[' + ",".join(["{}"] * 11) + "]}"),
        ("message:send", '{"roomId":"r","attachments":[{"data":{"_placeholder":true,"num":0}}]}'),
        ("message:send", '{"roomId":"r","content":"%s"}' % ("é" * 33)),
        ("message:send", '{"roomId":"r","content":"a","clientMsgId":"%s"}' % ("x" * 65)),
        ("message:history", '{"conversationId":"r","before":-3,"after":null,"limit":200}'),
        ("message:delivered", '{"roomId":"r",%s}' % message),
        ("message:read", '{"roomId":"r",%s,"upTo":true}' % message),
        ("typing:start", '{"roomId":"r"}'),
        ("typing:stop", '{"roomId":"r","roomId":"s"}'),
        ("presence:update", '{"status":"busy"}'),
    ]:
        yield bytes([EVENTS.index(event)]) + argument.encode()
    yield b"\x0fno:such\x1b[2Jevent"
    for event in range(len(EVENTS)):
        yield bytes([0x80 | event]) + b"room\x01\x02content and more of it" * 8


def jwt():
    def segment(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    header, claims = b'{"alg":"HS256","typ":"JWT"}', b'{"userId":42,"username":"Ada","exp":2000000000}'
    message = segment(header) + b"." + segment(claims)
    good = message + b"." + segment(hmac.digest(SECRET, message, hashlib.sha256))
    yield b"\x00" + good
    yield b"\x00" + message + b"."
    yield b"\x04" + good
    yield b"\x00" + segment(b'{"alg":"none"}') + b"." + segment(claims) + b"."
    for claims in [claims, b'{"sub":"auth0|5f","exp":1699999995}', b'{"id":7,"nbf":1700000006}', b'{"userId":null,"id":"x","exp":"never"}', b'{"userId":1,"userId":2}', b'{"userId":"42","id":1,"sub":"s"}', b'{"id":5,"exp":1e300,"username":""}', b'{"id":5,"iat":null}', b"[1]"]:
        for choice in [0x01, 0x11]:
            yield bytes([choice]) + header + b"\x00" + claims
    for other in [b'{"alg":"none"}', b'{"alg":"HS256","crit":[]}', b'{"alg":["HS256"]}', b'{"alg":"HS256","kid":"../../dev/null"}']:
        yield b"\x01" + other + b"\x00" + b'{"userId":42}'
    for key in range(4):
        choice = bytes([2 | key << 2])
        yield choice
        yield choice + b"\x00\x05\x00A"
        yield choice + b"\x01\x30\x00." + b"\x02\x00\x00x"
        yield choice + b"\x03\x40\x00="
    for choice in [0x03, 0x13]:
        yield bytes([choice]) + bytes(range(200))
        yield bytes([choice]) + b"\xff\x01name\x00\x05" * 30


def handshake_query():
    sid = "-_v7-_v7-_v7-_v7-_sB"
    escaped = "".join(f"%{byte:02x}" for byte in sid.encode())
    for query in [
        "",
        "EIO=4&transport=polling&t=P1x&j=0",
        "EIO=3&transport=polling&b64=1",
        "transport=websocket&EIO=4&sid=",
        "&&EIO=%34&%74ransport=poll%69ng&",
        f"EIO=4&transport=websocket&sid={sid}",
        f"EIO=4&transport=polling&sid={escaped}",
        "EIO=4&transport=__proto__",
        "EIO=4&transport=polling&sid=%zz",
        "EIO=4&transport=polling&sid=%ff%fe",
        f"EIO=4&transport=polling&sid={sid}A",
        "EIO=4&transport=polling&transport=polling",
        "transport=polling&EIO=+4",
    ]:
        yield query.encode()


def chat_app():
    scripts = {
        "a room": "+00c00j00k0k0c11+01j10k0k0m00k0",
        "a third user in the place": "+00c00j00h00t00l0c01l0c02k0k0k0k0k0k0",
        "another user in the place": "+00c00j00m00l0c01k0k0k0k0",
        "answered twice": "c00k0Dj00k0D",
        "answers in any order": "+00+01c00c11j00j11m00m11k5k3k1k2k0k0",
        "tokens are renewed by their users alone, and revoked": "+00C00k0u000u100u300u4006c10k0U0C00k0u000U1",
        "every event": "+00c00k0j00J00k0k0m00M00h00H00t00T00d00e00u00p00v00k0k0k0k0",
        "leave before the answer": "+00c00k0j00v00k0",
        "lost and answered": "+00c00k0m00j00x0k0k0",
        "over the rate for long": "c00k0" + "p00p00p00p00p00p00p00p002" * 14,
        "presence before arrival": "c00p00k0p00c10p10",
        "rate limited": "c00k0p00p00p00p00p00p00p00p00p00p00p00p00p00",
        "refused": "c00n00j00n01m00n00h00n00t00n00d00n00",
        "removed before the answer": "+00c00k0j00-00K0",
        "removed with two devices": "+00c00c20k0k0j00j20k0k0t00-00",
        "restored": "+00r003k0k0k0m00k0",
        "restored and lost": "+00r003x0k0k0",
        "restored and not certain": "+00r007n00k0k0k0k0",
        "restored and removed": "+00r001-00K0k0",
        "restored not a member": "r001k0k0",
        "restored too late": "+00r003b0k0k0k0k0",
        "restored without rooms": "r000k0",
        "the second is lost": "+00c00m00M00l0c01x0k0k0k0k0",
        "token expires": "C00k0j007p00",
        "too many rooms": "+00+10+20c00k0j00j01j02k0k0",
        "two forms of a room": "+30c00k0j03j04k0k0v04",
        "typing and gone": "+00c00k0j00k0t00x0",
        "typing stops by itself": "+00c00k0j00k0t00 6 6t003t003t00",
        "typing without having joined": "+00c00k0t00k0-00",
    }
    for script in scripts.values():
        yield script.encode()


def session():
    scripts = {
        "client closes": "4psp c.gfgf",
        "client closes the websocket": "4wsXsf",
        "client closes while a poll is held": "4pgpc.",
        "close and nobody polls": "4pssz5t",
        "close with a poll to come": "4psszgfgf",
        "heartbeat": "4pdgfnp.dnd",
        "heartbeat v3": "3pig9",
        "late timers": "4pLnLoL",
        "ping in revision 4": "4wI",
        "poll aborted": "4psgG",
        "polling": "4psgfsgfgsf",
        "pong flood": "4wNNNdNNN8dN",
        "pong in revision 3": "3pn",
        "post aborted": "4pp!",
        "post read after the upgrade": "4ppoRUm.sf",
        "probe dropped and another": "4poMoRXoRUsf",
        "slow websocket": "4wssssFFsFzFFF",
        "two polls": "4pgg",
        "two posts": "4ppp",
        "upgrade": "4pgsfoRgffsUsf",
        "upgrade before the probe": "4poUsgf",
        "upgrade never finished": "4poR6tgsf",
        "upgrade v3": "3pgsfoRgffsUsfI",
        "upgrade while a poll is held": "4pgoRUsf",
        "upgrade while closing": "4psoRzUf",
        "websocket": "4wsfMsfdNfBf",
    }
    for script in scripts.values():
        yield script.encode()


TARGETS = [chat_app, chat_command, engineio_packet, handshake_query, jwt, msgpack, payload_v3, payload_v4, session, socketio_decode, socketio_round_trip, websocket_frames]

for target in TARGETS:
    folder = ROOT / target.__name__
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for data in target():
        (folder / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
