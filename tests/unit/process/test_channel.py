"""Messages between processes: whole, in order, with open files, and with an end that can be told
from silence.
"""

import os
import threading
import time

import pytest

from paritygate.process.channel import Channel, ChannelClosedError


@pytest.fixture
def pair():
    ends = Channel.pair()
    yield ends
    for end in ends:
        end.close()


def test_messages_arrive_whole_and_in_order(pair):
    ours, theirs = pair
    large = {"numbers": list(range(200_000)), "text": "ä€\n" * 1000, "nothing": None, "share": 0.1}
    sender = threading.Thread(target=lambda: [ours.send({"n": n} | large) for n in range(3)])
    sender.start()  # more than a socket's buffer holds
    assert [theirs.receive()["n"] for _ in range(2)] == [0, 1]
    assert theirs.receive() == {"n": 2} | large
    sender.join()


def test_nan_and_infinity_survive(pair):
    ours, theirs = pair
    ours.send({"values": [float("nan"), float("inf")]})
    nan, infinity = theirs.receive()["values"]
    assert nan != nan
    assert infinity == float("inf")


def test_open_files_travel_along(pair, tmp_path):
    ours, theirs = pair
    with (tmp_path / "file").open("w") as file:
        ours.send({"message": "take"}, file.fileno())
    message, (descriptor,) = theirs.receive_with_fds(2)
    os.write(descriptor, b"written by the other side")
    os.close(descriptor)
    assert message == {"message": "take"}
    assert (tmp_path / "file").read_text() == "written by the other side"


def test_a_closed_end_is_told_from_silence(pair):
    ours, theirs = pair
    with pytest.raises(TimeoutError):
        theirs.receive(time.monotonic() + 0.05)
    ours.close()
    with pytest.raises(ChannelClosedError):
        theirs.receive(time.monotonic() + 5)
    with pytest.raises(ChannelClosedError):
        theirs.send({"to": "nobody"})


def test_the_end_amid_a_message_is_an_end(pair):
    ours, theirs = pair
    ours.socket.sendall(b"\0\0\0\x10{")
    ours.close()
    with pytest.raises(ChannelClosedError):
        theirs.receive()


def test_one_that_was_closed_here_says_the_same(pair):
    ours, _ = pair
    ours.close()
    with pytest.raises(ChannelClosedError):
        ours.send({})
    with pytest.raises(ChannelClosedError):
        ours.receive(time.monotonic() + 1)


def test_a_deadline_that_has_passed_is_kept_even_in_midst_of_a_message(pair):
    ours, theirs = pair
    ours.socket.sendall(b"\0\0\0\x10{")
    with pytest.raises(TimeoutError):
        theirs.receive(time.monotonic() + 0.05)
