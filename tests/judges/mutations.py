"""What is wrong with an artefact, one thing at a time: each field another, each part missing.

Every function takes a case that is right and gives the wrong ones under a name that says what
was done. Notes and proofs are taken apart as text here, not with our own readers.
"""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from collections.abc import Mapping

from tests.harness.judges import Case, b64

Cases = Mapping[str, Case]
WANTED = "group both all w0 w1"
"""The line of the policy that both witnesses are asked for by."""


def flipped(data: bytes, position: int) -> bytes:
    changed = bytearray(data)
    changed[position] ^= 1 << position % 8
    return bytes(changed)


# --- notes ---------------------------------------------------------------------------------------


def vkey_of(name: str, typed: bytes) -> str:
    """`typed` is the type byte and the key."""
    key_id = hashlib.sha256(name.encode() + b"\n" + typed).hexdigest()[:8]
    return f"{name}+{key_id}+{b64encode(typed).decode()}"


def parts_of(vkey: str) -> tuple[str, str, bytes]:
    name, key_id, encoded = vkey.split("+", 2)
    return name, key_id, b64decode(encoded)


def line_of(note: bytes, vkey: str) -> int:
    """The number of the note's line that the key signed."""
    name, key_id, _ = parts_of(vkey)
    (found,) = (
        number
        for number, line in enumerate(note.decode().split("\n"))
        if line.startswith(f"— {name} ") and b64decode(line.split(" ")[2])[:4].hex() == key_id
    )
    return found


def payload_of(note: bytes, number: int) -> bytes:
    """Key id and signature of a signature line."""
    return b64decode(note.decode().split("\n")[number].split(" ")[2])


def with_line(note: bytes, number: int, *lines: str) -> bytes:
    """The note with these lines in the place of one."""
    old = note.decode().split("\n")
    return "\n".join([*old[:number], *lines, *old[number + 1 :]]).encode()


def with_payload(note: bytes, number: int, payload: bytes) -> bytes:
    dash, name, _ = note.decode().split("\n")[number].split(" ")
    return with_line(note, number, f"{dash} {name} {b64encode(payload).decode()}")


def text_mutations(note: bytes) -> dict[str, bytes]:
    """Of a checkpoint's three lines."""
    origin, size, root = note.decode().split("\n")[:3]
    another = b64encode(flipped(b64decode(root), 31)).decode()
    return {
        "another origin": with_line(note, 0, f"{origin}x"),
        "no origin": with_line(note, 0, ""),
        "a larger size": with_line(note, 1, str(int(size) + 1)),
        "a smaller size": with_line(note, 1, str(int(size) - 1)),
        "another root": with_line(note, 2, another),
        "half a root": with_line(note, 2, b64encode(b64decode(root)[:16]).decode()),
        "no root": with_line(note, 2),
    }


def note_mutations(note: bytes, vkey: str, earlier: bytes) -> dict[str, bytes]:
    """Of a checkpoint that the key signed; `earlier` is another that it signed."""
    at = line_of(note, vkey)
    payload = payload_of(note, at)
    _, name, encoded = note.decode().split("\n")[at].split(" ")
    grafted = payload_of(earlier, line_of(earlier, vkey))
    return {
        **text_mutations(note),
        "another key id": with_payload(note, at, flipped(payload, 0)),
        "another key name": with_line(note, at, f"— {name}x {encoded}"),
        "the first bit of the signature": with_payload(note, at, flipped(payload, 4)),
        "the last bit of the signature": with_payload(note, at, flipped(payload, len(payload) - 1)),
        "a signature cut short": with_payload(note, at, payload[:-1]),
        "a signature too long": with_payload(note, at, payload + b"\0"),
        "an empty signature": with_payload(note, at, payload[:4]),
        "the signature of an earlier checkpoint": with_payload(note, at, grafted),
        "without its line": with_line(note, at),
        "a hyphen for the dash": with_line(note, at, f"- {name} {encoded}"),
        "without the empty line": with_line(note, 3),
        "cut within the line": note[: note.index(encoded.encode()) + 40],
    }


def signed_note(good: Case, *, earlier: bytes) -> Cases:
    """`good` is a `checkpoint`, `cosignature` or `ml-dsa` case."""
    note, vkey = b64decode(str(good["Note"])), str(good["Vkey"])
    wrong = {
        name: {**good, "Note": b64(changed)[0]}
        for name, changed in note_mutations(note, vkey, earlier).items()
    }
    name, key_id, typed = parts_of(vkey)
    wrong["a key of another name"] = {**good, "Vkey": vkey_of(f"{name}x", typed)}
    wrong["another key of the same name"] = {**good, "Vkey": vkey_of(name, flipped(typed, 9))}
    wrong["a key that says another id"] = {
        **good, "Vkey": vkey.replace(key_id, flipped(bytes.fromhex(key_id), 1).hex(), 1)
    }  # fmt: skip
    wrong["another log expected"] = {**good, "Origin": f"{good['Origin']}x"}
    wrong["nothing"] = {**good, "Note": ""}
    return wrong


def extended(good: Case) -> Cases:
    """An extension line is text, which Ed25519 covers and ML-DSA-44 does not."""
    note = b64decode(str(good["Note"]))
    root = note.decode().split("\n")[2]
    return {"an extension line": {**good, "Note": b64(with_line(note, 2, root, "more"))[0]}}


def cosignature(good: Case, *, other: str) -> Cases:
    """`other` is the vkey of another cosigner of the same note."""
    note, vkey = b64decode(str(good["Note"])), str(good["Vkey"])
    at = line_of(note, vkey)
    payload = payload_of(note, at)
    swapped = payload[:4] + payload_of(note, line_of(note, other))[4:]
    later = (int.from_bytes(payload[4:12], "big") + 1).to_bytes(8, "big")
    changed = {
        "another timestamp": payload[:4] + later + payload[12:],
        "timestamp zero": payload[:4] + bytes(8) + payload[12:],
        "without its timestamp": payload[:4] + payload[12:],
        "the signature of another cosigner": swapped,
    }
    return {
        name: {**good, "Note": b64(with_payload(note, at, new))[0]} for name, new in changed.items()
    }


# --- proofs --------------------------------------------------------------------------------------


def path_mutations(path: list[bytes]) -> dict[str, list[bytes]]:
    """Of a path of one or more hashes, no two of them equal."""
    wrong = {
        f"hash {i} {where}": [*path[:i], flipped(node, at), *path[i + 1 :]]
        for i, node in enumerate(path)
        for where, at in (("begins otherwise", 0), ("ends otherwise", 31))
    }
    if len(path) > 1:
        wrong["the first two hashes swapped"] = [path[1], path[0], *path[2:]]
        wrong["backwards"] = path[::-1]
    return {
        **wrong,
        "without its first hash": path[1:],
        "without its last hash": path[:-1],
        "an empty path": [],
        "one hash more at the end": [*path, bytes(32)],
        "one hash more at the beginning": [bytes(32), *path],
        "its last hash twice": [*path, path[-1]],
        "a hash of 31 bytes": [path[0][:31], *path[1:]],
        "a hash of 33 bytes": [path[0] + b"\0", *path[1:]],
    }


def inclusion(good: Case, *, another_entry: bytes, another_root: bytes) -> Cases:
    """`good` is of a tree of two or more leaves."""
    path = [b64decode(node) for node in _proof(good)]
    index, size = int(str(good["Index"])), int(str(good["Size"]))
    wrong: dict[str, Case] = {
        name: {**good, "Proof": b64(*changed)} for name, changed in path_mutations(path).items()
    }
    numbers = {
        "the next index": {"Index": index + 1},
        "its neighbour's index": {"Index": index ^ 1},
        "the first or the last index": {"Index": 0 if index == size - 1 else size - 1},
        "an index beyond the tree": {"Index": size},
        "an index twice the tree": {"Index": index + (1 << size.bit_length())},
        "a tree half as large": {"Size": max(size // 2, 1)},
        "a tree twice as large": {"Size": 2 * size},
        "a tree too small": {"Size": index},
        "an empty tree": {"Size": 0},
    }
    wrong |= {name: {**good, **changed} for name, changed in numbers.items()}
    root = b64decode(str(good["Root"]))
    values = {
        "another root": {"Root": flipped(root, 31)},
        "the root of another size": {"Root": another_root},
        "half a root": {"Root": root[:16]},
        "another entry": {"Entry": another_entry},
        "an entry with a bit flipped": {"Entry": flipped(b64decode(str(good["Entry"])), 0)},
        "no entry": {"Entry": b""},
    }
    return {**wrong, **_with_bytes(good, values)}


def consistency(good: Case, *, another_root: bytes) -> Cases:
    """`good` is between two trees of which neither is twice as large as the other."""
    path = [b64decode(node) for node in _proof(good)]
    old, size = int(str(good["Old"])), int(str(good["Size"]))
    wrong: dict[str, Case] = {
        name: {**good, "Proof": b64(*changed)} for name, changed in path_mutations(path).items()
    }
    numbers = {
        "an older tree of one more": {"Old": old + 1},
        "an older tree of one less": {"Old": old - 1},
        "an older tree twice as large": {"Old": 2 * old},
        "an empty older tree": {"Old": 0},
        "an older tree larger than the newer": {"Old": size + 1},
        "an older tree as large as the newer": {"Old": size},
        "a newer tree twice as large": {"Size": 2 * size},
        "a newer tree half as large": {"Size": size // 2},
        "sizes swapped": {"Old": size, "Size": old},
    }
    wrong |= {name: {**good, **changed} for name, changed in numbers.items()}
    root, older = b64decode(str(good["Root"])), b64decode(str(good["From"]))
    values = {
        "another newer root": {"Root": flipped(root, 0)},
        "another older root": {"From": flipped(older, 31)},
        "the newer root of another size": {"Root": another_root},
        "the older root of another size": {"From": another_root},
        "roots swapped": {"From": root, "Root": older},
        "half an older root": {"From": older[:16]},
    }
    return {**wrong, **_with_bytes(good, values)}


def _proof(case: Case) -> list[str]:
    nodes = case["Proof"]
    assert isinstance(nodes, list)
    return nodes


def _with_bytes(good: Case, values: Mapping[str, Mapping[str, bytes]]) -> Cases:
    return {
        name: {**good, **{field: b64(value)[0] for field, value in changed.items()}}
        for name, changed in values.items()
    }


# --- .tlog-proof ---------------------------------------------------------------------------------


def proof_file(
    good: Case, *, log: str, witnesses: tuple[str, str], earlier: bytes, another_entry: bytes
) -> Cases:
    """`witnesses` are the vkeys of both that the policy wants; `earlier` is another checkpoint
    that all three signed."""
    head, checkpoint = b64decode(str(good["File"])).split(b"\n\n", 1)
    lines = head.decode().split("\n")
    index, path = int(lines[1].removeprefix("index ")), [b64decode(node) for node in lines[2:]]

    def file(*first: str, nodes: list[bytes] = path, note: bytes = checkpoint) -> bytes:
        start = first or (lines[0], lines[1])
        return "\n".join([*start, *b64(*nodes), "", ""]).encode() + note

    assert file() == b64decode(str(good["File"]))
    wrong = {name: file(nodes=nodes) for name, nodes in path_mutations(path).items()}
    for signer, vkey in (("log", log), *zip(("witness 1", "witness 2"), witnesses, strict=True)):
        wrong |= {
            f"{signer}: {name}": file(note=changed)
            for name, changed in note_mutations(checkpoint, vkey, earlier).items()
        }
    wrong |= {
        "version 2": file("c2sp.org/tlog-proof@v2", lines[1]),
        "no header": file(lines[1]),
        "no index": file(lines[0]),
        "the next index": file(lines[0], f"index {index + 1}"),
        "its neighbour's index": file(lines[0], f"index {index ^ 1}"),
        "an index beyond the tree": file(lines[0], f"index {1 << 40}"),
        "a negative index": file(lines[0], f"index -{index}"),
        "an index that is no number": file(lines[0], "index x"),
        "extra that is not base64": file(lines[0], "extra *", lines[1]),
        "the earlier checkpoint": file(note=earlier),
        "no checkpoint": file(note=b""),
        "no empty line": file().replace(b"\n\n", b"\n", 1),
        "nothing": b"",
    }
    cases: dict[str, Case] = {
        name: {**good, "File": b64(changed)[0]} for name, changed in wrong.items()
    }
    name, _, typed = parts_of(log)
    stranger = flipped(parts_of(witnesses[0])[2], 9)
    third = f"witness third {vkey_of('third.example/w', stranger)} http://third.example/\n"
    wanted = str(good["Policy"]).replace(WANTED, f"{third}{WANTED} third")
    return cases | {
        "another entry": {**good, "Entry": b64(another_entry)[0]},
        "another log's key": {**good, "Vkey": vkey_of(name, flipped(typed, 9))},
        "a log of another name": {
            **good, "Vkey": vkey_of(f"{name}x", typed), "Origin": f"{good['Origin']}x"
        },
        "a third witness wanted": {**good, "Policy": wanted},
    }  # fmt: skip
