"""Beam's runner on this machine, kept from listening to others."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def listening_here_alone() -> Iterator[None]:
    """Within, servers that gRPC is asked to start on every address of the machine listen on 127.0.0.1 alone.

    Beam's FnApiRunner with several processes speaks with them so, without a password, and has no setting for it.
    """
    import grpc

    real = grpc.server

    def server(*args: Any, **kwargs: Any) -> Any:
        made = real(*args, **kwargs)
        bind = made.add_insecure_port
        made.add_insecure_port = lambda address: bind(address.replace("[::]", "127.0.0.1"))
        return made

    grpc.server = server
    try:
        yield
    finally:
        grpc.server = real
