"""SDP offers of a browser, built of sections, and damaged copies of them."""

import random
import re

SESSION = """v=0
o=- 1 1 IN IP4 0.0.0.0
s=-
t=0 0
a=group:BUNDLE {names}
"""
TRANSPORT = """c=IN IP4 127.0.0.1
a=mid:{name}
a=rtcp-mux
a=ice-ufrag:abcd
a=ice-pwd:abcdefghijklmnopqrstuv
a=fingerprint:sha-256 EA:46
a=setup:actpass
"""
VP8 = """a=rtpmap:97 VP8/90000
a=rtcp-fb:97 nack pli
a=rtpmap:98 rtx/90000
a=fmtp:98 apt=97
"""
H264 = """a=rtpmap:99 H264/90000
a=fmtp:99 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f
"""
VP9 = """a=rtpmap:100 VP9/90000
a=fmtp:100 profile-id=0
"""
OPUS = "a=rtpmap:96 opus/48000/2\n"
HOST = "a=candidate:1 1 udp 2130706431 {ip} 40000 typ host\n"


def section(kind: str, name: str, *lines: str, direction: str = "sendrecv") -> str:
    codecs = " ".join(re.findall(r"a=rtpmap:(\d+)", "".join(lines)))
    head = f"m={kind} 9 UDP/TLS/RTP/SAVPF {codecs}\n"
    return head + TRANSPORT.format(name=name) + f"a={direction}\n" + "".join(lines)


def data_channel(name: str) -> str:
    head = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\n"
    return head + TRANSPORT.format(name=name) + "a=sctp-port:5000\n"


def offer(*sections: str) -> str:
    names = " ".join(re.findall(r"a=mid:(\S+)", "".join(sections)))
    return (SESSION.format(names=names) + "".join(sections)).replace("\n", "\r\n")


def video(*lines: str, name: str = "1", direction: str = "sendrecv") -> str:
    return section("video", name, *(lines or (VP8, H264)), direction=direction)


def damaged(text: str, seed: int) -> str:
    """Removes, doubles, truncates or changes one to three lines."""
    rng = random.Random(seed)
    lines = text.splitlines()
    for _ in range(rng.randint(1, 3)):
        index = rng.randrange(len(lines))
        line = lines[index]
        column = rng.randrange(len(line) + 1)
        replacement = rng.choice(
            [
                [],
                [line, line],
                [line[:column]],
                [line[:column] + rng.choice("9 /:=-x\0é") + line[column + 1 :]],
            ]
        )
        lines[index : index + 1] = replacement
    return "\r\n".join(lines) + "\r\n"
