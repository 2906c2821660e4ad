"""Channel: JSON messages between the pytest process and its measuring processes, over a socket.

Each message is preceded by its length.
"""

from __future__ import annotations

import array
import json
import socket
import struct
import time
from typing import Any

LENGTH = struct.Struct("!I")


class ChannelClosedError(Exception):
    """The other side has closed the channel or died."""


class Channel:
    """One end of a pair; ``Channel.pair()`` makes both."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock

    @classmethod
    def pair(cls) -> tuple[Channel, Channel]:
        """Return two connected channels."""
        ours, theirs = socket.socketpair()
        return cls(ours), cls(theirs)

    def send(self, message: dict[str, Any], *fds: int) -> None:
        """Send a message, and copies of open files with it. Raises ``ChannelClosedError``."""
        body = json.dumps(message).encode()
        # At least one byte must travel with the descriptors; the length does.
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        try:
            self.socket.settimeout(None)
            self.socket.sendmsg([LENGTH.pack(len(body))], ancillary)
            self.socket.sendall(body)
        except OSError as error:
            raise ChannelClosedError from error

    def receive(self, deadline: float | None = None) -> dict[str, Any]:
        """Return the next message. ``deadline``: a value of ``time.monotonic``. Raises
        ``ChannelClosedError`` or ``TimeoutError``.
        """
        return self.receive_with_fds(0, deadline)[0]

    def receive_with_fds(
        self, most: int, deadline: float | None = None
    ) -> tuple[dict[str, Any], list[int]]:
        """Return the next message and the files that came with it, at most ``most``."""
        head: bytes = b""
        fds: list[int] = []
        try:
            while len(head) < LENGTH.size:
                self._wait(deadline)
                data, new, _, _ = socket.recv_fds(self.socket, LENGTH.size - len(head), most)
                if not data:
                    raise ChannelClosedError
                head, fds = head + data, fds + list(new)
            body = bytearray()
            (length,) = LENGTH.unpack(head)
            while len(body) < length:
                self._wait(deadline)
                data = self.socket.recv(min(length - len(body), 1 << 20))
                if not data:
                    raise ChannelClosedError
                body += data
        except TimeoutError:
            raise
        except OSError as error:
            raise ChannelClosedError from error
        message: dict[str, Any] = json.loads(bytes(body))
        return message, fds

    def _wait(self, deadline: float | None) -> None:
        if deadline is not None and (left := deadline - time.monotonic()) <= 0:
            raise TimeoutError
        self.socket.settimeout(None if deadline is None else left)

    def fileno(self) -> int:
        """Return the socket's file descriptor."""
        return self.socket.fileno()

    def close(self) -> None:
        """Close this end. The next receive of the other side raises ``ChannelClosedError``."""
        self.socket.close()
