// Parsed JSON, read exactly: every member named, none left over, every text in its one spelling
// (certs/reading.py); and what the signed files of a house have in common.

import { fromB64, fromB64url, fromUtf8, utf8 } from "./bytes.js";
import { Malformed, Unreadable } from "./errors.js";
import { canonicalText } from "./json.js";

export const NOT_EMPTY = /^[^]+$/;
const TIME = /^([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})\.[0-9]{6}Z$/;

/** Whether a moment of these numbers is in the calendar. */
export function exists(year, month, day, hour, minute, second) {
  const leap = (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0;
  const days = [31, leap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
  return (
    year >= 1 && month >= 1 && month <= 12 && day >= 1 && day <= days[month - 1] &&
    hour <= 23 && minute <= 59 && second <= 59
  );
}

/** One JSON value and where it is. Every method throws Unreadable. */
export class Node {
  constructor(value, where) {
    this.value = value;
    this.where = where;
  }

  wrong(expected) {
    return new Unreadable(`${this.where} is not ${expected}`);
  }

  object() {
    if (!(this.value instanceof Map)) throw this.wrong("an object");
    return this.value;
  }

  member(name) {
    const found = this.object();
    if (!found.has(name)) throw new Unreadable(`${this.where} has no member '${name}'`);
    return new Node(found.get(name), `${this.where}.${name}`);
  }

  members(names, maybe = []) {
    const found = this.object();
    const wanted = [...names, ...maybe.filter((name) => found.has(name))];
    if (found.size !== wanted.length || wanted.some((name) => !found.has(name))) {
      throw new Unreadable(`${this.where} has the wrong members`);
    }
    return Object.fromEntries(wanted.map((name) => [name, this.member(name)]));
  }

  each(most, read) {
    if (!Array.isArray(this.value)) throw this.wrong("an array");
    if (this.value.length > most) throw this.wrong(`at most ${most} items`);
    return this.value.map((item, at) => read(new Node(item, `${this.where}[${at}]`)));
  }

  text(pattern = null) {
    if (typeof this.value !== "string") throw this.wrong("a string");
    if (pattern !== null && !pattern.test(this.value)) throw this.wrong(`a string like ${pattern}`);
    return this.value;
  }

  oneOf(words) {
    const text = this.text();
    if (!words.includes(text)) throw this.wrong(words.join(" or "));
    return text;
  }

  boolean() {
    if (typeof this.value !== "boolean") throw this.wrong("true or false");
    return this.value;
  }

  integer(least) {
    if (typeof this.value !== "number" || this.value < least) {
      throw this.wrong(`an integer of at least ${least}`);
    }
    return this.value;
  }

  /** RFC 3339 in UTC with six digits: sorts as a text the way it does as a time. */
  time() {
    const text = this.text(TIME);
    if (!exists(...TIME.exec(text).slice(1).map(Number))) throw this.wrong("a time that exists");
    return text;
  }

  bytes(decode, exactly) {
    let raw;
    try {
      raw = decode(this.text());
    } catch (error) {
      if (!(error instanceof Malformed)) throw error;
      throw this.wrong("base64 in its one spelling");
    }
    if (raw.length === 0) throw this.wrong("base64 of at least one byte");
    if (exactly !== undefined && raw.length !== exactly) {
      throw this.wrong(`base64 of ${exactly} bytes`);
    }
    return raw;
  }

  base64(exactly) {
    return this.bytes(fromB64, exactly);
  }

  base64url(exactly) {
    return this.bytes(fromB64url, exactly);
  }
}

/** {kid, value} of a member `signature`. */
export function readSignature(node) {
  const part = node.members(["alg", "kid", "value"]);
  part.alg.oneOf(["EdDSA"]);
  return { kid: part.kid.base64url(32), value: part.value.base64(64) };
}

/** What was signed of a canonical file: its type, a line feed, the file without its `signature`. */
export function withoutSignature(type, data, signature) {
  const text = fromUtf8(data);
  const spelled = `"signature":${canonicalText(signature)},`;
  const at = text.indexOf(spelled);
  return utf8(`${type}\n${text.slice(0, at)}${text.slice(at + spelled.length)}`);
}
