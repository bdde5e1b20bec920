"""What fails because of a video, and what because of the machine that works on it."""

import errno

from magdiff_jax.errors import Stopped

# Of the operating system: of storage, memory, network and open files. A file that is not there, or may not be read,
# is none of them.
_OF_THE_MACHINE = {
    getattr(errno, name)
    for name in (
        *("EIO", "ENOSPC", "EDQUOT", "EROFS", "ESTALE", "ENODEV", "ENXIO", "EREMOTEIO", "ENOTCONN", "ESHUTDOWN"),
        *("ENOMEM", "EMFILE", "ENFILE", "EAGAIN", "EBUSY"),
        *(
            "ETIMEDOUT",
            "ECONNRESET",
            "ECONNREFUSED",
            "ECONNABORTED",
            "EHOSTUNREACH",
            "ENETUNREACH",
            "ENETDOWN",
            "EPIPE",
        ),
    )
    if hasattr(errno, name)
}
# How PyTorch and OpenCV name what went wrong with a GPU or with memory: both have classes of their own only for some.
_TEXTS = (
    "cuda",
    "cudnn",
    "cublas",
    "cusparse",
    "nccl",
    "hip error",
    "out of memory",
    "insufficient memory",
    "allocate memory",
)
_TYPES = {"OutOfMemoryError", "AcceleratorError"}


def of_the_machine(error: BaseException) -> bool:
    """Whether an error, or one that it was raised from, is the machine's: elsewhere, or later, all may go well."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, Stopped | MemoryError) or _TYPES & {kind.__name__ for kind in type(seen).__mro__}:
            return True
        # FFmpeg gives the number of an input/output error for damaged files too.
        ours = _OF_THE_MACHINE - {errno.EIO} if type(seen).__module__.startswith("av.") else _OF_THE_MACHINE
        if isinstance(seen, OSError) and (seen.errno in ours or isinstance(seen, TimeoutError)):
            return True
        # OpenCV's error is derived from Exception itself.
        library = isinstance(seen, RuntimeError) or type(seen).__module__.partition(".")[0] in ("torch", "cv2")
        if library and any(text in str(seen).lower() for text in _TEXTS):
            return True
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return False
