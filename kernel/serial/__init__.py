"""Values to bytes and back: pickling with references and out-of-band buffers, packing, functions and errors."""

from shoal.serial.functions import dump_function, function_hash, load_function
from shoal.serial.payload import ALIGNMENT, Payload, pack, pack_bytes, pack_into, unpack
from shoal.serial.pickling import dump_call, dumps, loads
from shoal.serial.remote_error import dump_error, load_error

__all__ = [
    "ALIGNMENT",
    "Payload",
    "dump_call",
    "dump_error",
    "dump_function",
    "dumps",
    "function_hash",
    "load_error",
    "load_function",
    "loads",
    "pack",
    "pack_bytes",
    "pack_into",
    "unpack",
]
