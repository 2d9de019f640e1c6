// Bytes and their spellings, each read so strictly that a value has exactly one.

import { Malformed } from "./errors.js";
import { sha256 } from "./vendor/vendor.js";

export { sha256 };

const ENCODER = new TextEncoder();

export function utf8(text) {
  return ENCODER.encode(text);
}

/** The text in UTF-8 bytes, a byte order mark kept. Throws TypeError. */
export function fromUtf8(bytes) {
  return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
}

export function concat(...parts) {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

export function equal(a, b) {
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}

export function startsWith(bytes, start) {
  return bytes.length >= start.length && start.every((byte, at) => byte === bytes[at]);
}

export function hex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export function fromHex(text) {
  return Uint8Array.from(text.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

export function toBigInt(bytes) {
  return bytes.length ? BigInt("0x" + hex(bytes)) : 0n;
}

export function b64(bytes) {
  let binary = "";
  for (let at = 0; at < bytes.length; at += 8192) {
    binary += String.fromCharCode(...bytes.subarray(at, at + 8192));
  }
  return btoa(binary);
}

export function b64url(bytes) {
  return b64(bytes).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** RFC 4648 section 4 in its only form: no white space, whole padding, no stray bits. */
export function fromB64(text) {
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text) || text.length % 4) {
    throw new Malformed(`not base64: '${text.slice(0, 100)}'`);
  }
  const bytes = decoded(text);
  if (b64(bytes) !== text) {
    throw new Malformed(`base64 is not in its only form: '${text.slice(0, 100)}'`);
  }
  return bytes;
}

/** RFC 4648 section 5 without padding, in its only form. */
export function fromB64url(text) {
  if (!/^[A-Za-z0-9_-]*$/.test(text) || text.length % 4 === 1) {
    throw new Malformed(`not base64url: '${text.slice(0, 24)}'`);
  }
  const standard = text.replaceAll("-", "+").replaceAll("_", "/");
  const bytes = decoded(standard + "=".repeat(-text.length & 3));
  if (b64url(bytes) !== text) throw new Malformed("not canonical base64url");
  return bytes;
}

function decoded(text) {
  try {
    return Uint8Array.from(atob(text), (each) => each.charCodeAt(0));
  } catch {
    throw new Malformed(`not base64: '${text.slice(0, 100)}'`);
  }
}
