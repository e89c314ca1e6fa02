"""WFDB records of every signal format, written by an encoder that shares nothing with the reader."""

import numpy as np

LIMITS = {"8": 100, "80": 127, "310": 511, "311": 511, "212": 2047, "16": 32767, "61": 32767, "160": 32767}
LIMITS |= {"24": 2**23 - 1, "32": 2**31 - 1}
FLAC = {"508": "PCM_S8", "516": "PCM_16", "524": "PCM_24"}


def encode(samples, fmt):
    """Bytes of a sequence of samples, as https://wfdb.io/spec/signal-files.html describes them."""
    samples = [int(sample) for sample in samples]
    if fmt in ("310", "311"):
        samples += [0] * (-len(samples) % 3)
    content = bytearray()
    match fmt:
        case "80":
            content += bytes(sample + 128 for sample in samples)
        case "16" | "32" | "24":
            for sample in samples:
                content += sample.to_bytes(int(fmt) // 8, "little", signed=True)
        case "61":
            for sample in samples:
                content += sample.to_bytes(2, "big", signed=True)
        case "160":
            for sample in samples:
                content += (sample + 32768).to_bytes(2, "little")
        case "212":
            for first, second in zip(samples[::2], [*samples[1::2], 0], strict=False):
                content += (first & 0xFFF | (second & 0xF00) << 4).to_bytes(2, "little")
                content += bytes([second & 0xFF])
            content = content[: -(-len(samples) * 3 // 2)]
        case "310":
            for first, second, third in zip(samples[::3], samples[1::3], samples[2::3], strict=True):
                content += ((first & 1023) << 1 | (third & 31) << 11).to_bytes(2, "little")
                content += ((second & 1023) << 1 | (third >> 5 & 31) << 11).to_bytes(2, "little")
        case "311":
            for first, second, third in zip(samples[::3], samples[1::3], samples[2::3], strict=True):
                word = first & 1023 | (second & 1023) << 10 | (third & 1023) << 20
                content += word.to_bytes(4, "little")
        case _:
            raise ValueError(fmt)
    return bytes(content)


def write_signals(folder, name, signals, fmt="16", rate="100", frames=None, offset=0, file=None, extra=""):
    """Write a list of integer arrays into one file with a header; gives the lines of the header."""
    frames = frames or [1] * len(signals)
    count = len(signals[0]) // frames[0]
    parts = [np.reshape(signal, (count, n)) for signal, n in zip(signals, frames, strict=True)]
    mixed = np.concatenate(parts, axis=1).reshape(-1)
    file = file or f"{name}.dat"
    if fmt in FLAC:
        import soundfile

        shift = 32 - int(fmt) + 500
        values = np.stack(signals, axis=1).astype(np.int64) << shift
        soundfile.write(folder / file, values.astype(np.int32), 100, FLAC[fmt], format="FLAC")
    elif fmt == "8":
        steps = [np.diff(signal, prepend=signal[0]) for signal in signals]
        (folder / file).write_bytes(np.stack(steps, axis=1).astype("i1").tobytes())
    else:
        (folder / file).write_bytes(bytes(offset) + encode(mixed, fmt))
    lines = [f"{name} {len(signals)} {rate} {count}"]
    for number, (signal, n) in enumerate(zip(signals, frames, strict=True)):
        form = fmt + (f"x{n}" if n > 1 else "") + (f"+{offset}" if offset else "")
        total = int(np.sum(signal, dtype=np.int64)) % 65536
        total -= 65536 * (total > 32767)
        lines.append(f"{file} {form} 100/mV 12 0 {signal[0]} {total} 0 lead{number}{extra}")
    (folder / f"{name}.hea").write_text("\n".join(lines) + "\n")
    return lines
