// A bundle: the certificate in a zip file, and the original where it is stored as it is
// (certs/container.py; APPNOTE.TXT 4.3.7 to 4.3.16).

import { equal, fromUtf8 } from "./bytes.js";
import { MAX_BYTES } from "./certificate.js";
import { Unreadable } from "./errors.js";
import { inflateSync } from "./vendor/vendor.js";

const CERTIFICATE = "certificate.json";
const ORIGINAL_FOLDER = "original/";
const MAX_ENTRIES = 512;
const MAX_RATIO = 200;
const MAX_DIRECTORY_BYTES = MAX_ENTRIES * 512;
const END_BYTES = 22;
const END64_BYTES = 56;
const LOCATOR64_BYTES = 20;
const LOCAL_BYTES = 30;
const ENTRY_BYTES = 46;
const [STORED, DEFLATED] = [0, 8];
const ENCRYPTED = 1;
const UTF8_NAME = 0x800;
const FULL = 0xffffffff;

function view(bytes) {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** {certificate, original: {name, offset, size} | null} of a File or Blob. Throws Unreadable. */
export async function readBundle(file) {
  try {
    const entries = await directory(file);
    return { certificate: await member(file, entries), original: await original(file, entries) };
  } catch (error) {
    if (error instanceof RangeError || error instanceof TypeError) {
      throw new Unreadable(`bundle cannot be read: ${error.message}`);
    }
    throw error;
  }
}

async function slice(file, from, to) {
  return new Uint8Array(await file.slice(from, to).arrayBuffer());
}

async function directory(file) {
  const tailBytes = Math.min(file.size, END_BYTES + 0xffff + END64_BYTES + LOCATOR64_BYTES);
  const tail = await slice(file, file.size - tailBytes, file.size);
  const at = endRecord(tail);
  const end = view(tail);
  let [count, size, offset] = [10, 12, 16].map((field, n) =>
    n ? end.getUint32(at + field, true) : end.getUint16(at + field, true));
  const at64 = at - LOCATOR64_BYTES - END64_BYTES;
  let before = at;
  if (at64 >= 0 && end.getUint32(at64, true) === 0x06064b50) {
    [count, size, offset] = [32, 40, 48].map((field) => Number(end.getBigUint64(at64 + field, true)));
    before = at64;
  }
  if (size > MAX_DIRECTORY_BYTES) {
    throw new Unreadable(
      `bundle has a directory of ${size} bytes, the limit is ${MAX_DIRECTORY_BYTES}`,
    );
  }
  // What stands before the first entry shifts every offset, as in a self-extracting archive.
  const start = file.size - tailBytes + before - size;
  const shift = start - offset;
  if (start < 0 || shift < 0) throw new Unreadable("bundle has no central directory: it is cut off");
  const entries = readEntries(await slice(file, start, start + size), shift);
  if (entries.length > MAX_ENTRIES || entries.length !== count) {
    throw new Unreadable(`bundle has ${entries.length} entries, the limit is ${MAX_ENTRIES}`);
  }
  return entries;
}

function endRecord(tail) {
  const plain = tail.length - END_BYTES;
  const bytes = view(tail);
  const isEnd = (at) => bytes.getUint32(at, true) === 0x06054b50;
  if (plain >= 0 && isEnd(plain) && bytes.getUint16(tail.length - 2, true) === 0) return plain;
  for (let at = plain; at >= 0 && at >= plain - 0xffff; at -= 1) if (isEnd(at)) return at;
  throw new Unreadable("bundle has no central directory: it is cut off");
}

function readEntries(bytes, shift) {
  const entries = [];
  const data = view(bytes);
  let at = 0;
  while (at < bytes.length) {
    if (data.getUint32(at, true) !== 0x02014b50) throw new Unreadable("bundle has a bad directory");
    const [nameBytes, extraBytes, commentBytes] = [28, 30, 32].map((n) => data.getUint16(at + n, true));
    const name = bytes.subarray(at + ENTRY_BYTES, at + ENTRY_BYTES + nameBytes);
    const entry = {
      flags: data.getUint16(at + 8, true),
      method: data.getUint16(at + 10, true),
      crc: data.getUint32(at + 16, true),
      packed: data.getUint32(at + 20, true),
      size: data.getUint32(at + 24, true),
      offset: data.getUint32(at + 42, true),
      rawName: name,
    };
    entry.name = entry.flags & UTF8_NAME ? fromUtf8(name) : String.fromCharCode(...name);
    const extra = at + ENTRY_BYTES + nameBytes;
    readZip64(entry, bytes.subarray(extra, extra + extraBytes));
    entry.offset += shift;
    entries.push(entry);
    at = extra + extraBytes + commentBytes;
  }
  return entries;
}

function readZip64(entry, extra) {
  const data = view(extra);
  for (let at = 0; at + 4 <= extra.length; ) {
    const [kind, length] = [data.getUint16(at, true), data.getUint16(at + 2, true)];
    let field = at + 4;
    for (const name of kind === 1 ? ["size", "packed", "offset"] : []) {
      if (entry[name] !== FULL) continue;
      if (field + 8 > at + 4 + length) throw new Unreadable("bundle has a bad zip64 record");
      entry[name] = Number(data.getBigUint64(field, true));
      field += 8;
    }
    at += 4 + length;
  }
}

/** Where the entry's bytes begin. */
async function contentStart(file, entry) {
  const local = await slice(file, entry.offset, entry.offset + LOCAL_BYTES);
  const data = view(local);
  const nameAt = entry.offset + LOCAL_BYTES;
  const nameBytes = data.getUint16(26, true);
  const name = await slice(file, nameAt, nameAt + nameBytes);
  if (data.getUint32(0, true) !== 0x04034b50 || !equal(name, entry.rawName)) {
    throw new Unreadable(`'${entry.name}' is not where the bundle says`);
  }
  return nameAt + nameBytes + data.getUint16(28, true);
}

async function member(file, entries) {
  const found = entries.filter((entry) => entry.name === CERTIFICATE);
  if (found.length !== 1) {
    throw new Unreadable(`bundle has ${found.length} entries '${CERTIFICATE}', expected 1`);
  }
  const [entry] = found;
  if (entry.size > MAX_BYTES || entry.size > MAX_RATIO * entry.packed) {
    throw new Unreadable(`certificate in the bundle claims ${entry.size} bytes from ${entry.packed}`);
  }
  if (entry.flags & ENCRYPTED || ![STORED, DEFLATED].includes(entry.method)) {
    throw new Unreadable("certificate in the bundle is encrypted, or packed in an unknown way");
  }
  const start = await contentStart(file, entry);
  const packed = await slice(file, start, start + entry.packed);
  const data = entry.method === STORED ? packed : inflated(packed, entry.size);
  if (data.length !== entry.size || crc32(data) !== entry.crc) {
    throw new Unreadable("certificate in the bundle is damaged");
  }
  return data;
}

function inflated(packed, size) {
  try {
    // One byte beyond the claim: the directory may lie about the size.
    return inflateSync(packed, { out: new Uint8Array(size + 1) });
  } catch (error) {
    throw new Unreadable(`certificate in the bundle cannot be unpacked: ${error.message}`);
  }
}

async function original(file, entries) {
  const found = entries.filter(
    ({ name }) => name.startsWith(ORIGINAL_FOLDER) && !name.endsWith("/"),
  );
  if (!found.length) return null;
  if (found.length > 1) {
    throw new Unreadable(`bundle has ${found.length} originals, expected at most 1`);
  }
  const [entry] = found;
  if (entry.method !== STORED || entry.flags & ENCRYPTED) {
    throw new Unreadable(`original '${entry.name}' in the bundle is compressed or encrypted`);
  }
  const local = view(await slice(file, entry.offset, entry.offset + LOCAL_BYTES));
  const lengths = local.getUint16(26, true) + local.getUint16(28, true);
  const offset = entry.offset + LOCAL_BYTES + lengths;
  if (local.getUint32(0, true) !== 0x04034b50 || offset + entry.size > file.size) {
    throw new Unreadable(`original '${entry.name}' is not where the bundle says`);
  }
  return { name: entry.name.slice(ORIGINAL_FOLDER.length), offset, size: entry.size };
}

const CRC = Uint32Array.from({ length: 256 }, (_, n) => {
  let value = n;
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});

function crc32(bytes) {
  let value = FULL;
  for (const byte of bytes) value = CRC[(value ^ byte) & 255] ^ (value >>> 8);
  return (value ^ FULL) >>> 0;
}
