// The objects of a PDF, read from bytes (ISO 32000 section 7.2, 7.3). Dictionaries are Maps by
// name, strings are bytes. What is no PDF throws Unreadable.

import { Unreadable } from "./errors.js";

const DEPTH = 64;
const SPACE = new Set([0, 9, 10, 12, 13, 32]);
const DELIMITERS = new Set(Array.from("()<>[]{}/%", (each) => each.charCodeAt(0)));
const ESCAPES = { n: 10, r: 13, t: 9, b: 8, f: 12 };

export class Name {
  constructor(text) {
    this.text = text;
  }
}

export class Ref {
  constructor(number) {
    this.number = number;
  }
}

/** `start` is where its raw bytes begin. */
export class Stream {
  constructor(dictionary, start) {
    this.dictionary = dictionary;
    this.start = start;
  }
}

export class Lexer {
  constructor(data, at) {
    this.data = data;
    this.at = at;
  }

  space() {
    for (;;) {
      const byte = this.data[this.at];
      if (SPACE.has(byte)) {
        this.at += 1;
      } else if (byte === 0x25) {
        while (this.at < this.data.length && ![10, 13].includes(this.data[this.at])) this.at += 1;
      } else {
        return;
      }
    }
  }

  /** A number, or the word as a text. */
  token() {
    this.space();
    const start = this.at;
    while (this.at < this.data.length && !SPACE.has(this.data[this.at]) &&
           !DELIMITERS.has(this.data[this.at])) this.at += 1;
    const word = String.fromCharCode(...this.data.subarray(start, Math.min(this.at, start + 64)));
    if (!word) throw new Unreadable("PDF has no word where one belongs");
    return /^[-+]?(\d+\.?\d*|\.\d+)$/.test(word) ? Number(word) : word;
  }

  /** `n g obj … endobj`, its number `wanted` where one is given. */
  indirect(wanted = null) {
    const [number, , word] = [this.token(), this.token(), this.token()];
    if (word !== "obj" || (wanted !== null && number !== wanted)) {
      throw new Unreadable("PDF has no object where it says");
    }
    const value = this.value();
    if (!(value instanceof Map)) return value;
    this.space();
    const after = String.fromCharCode(...this.data.subarray(this.at, this.at + 6));
    if (after !== "stream") return value;
    this.at += 6;
    if (this.data[this.at] === 13) this.at += 1;
    if (this.data[this.at] === 10) this.at += 1;
    return new Stream(value, this.at);
  }

  dictionary() {
    const value = this.value();
    if (!(value instanceof Map)) throw new Unreadable("PDF has no dictionary where one belongs");
    return value;
  }

  value(depth = DEPTH) {
    if (depth === 0) throw new Unreadable("PDF is nested too deeply");
    this.space();
    const [byte, next] = [this.data[this.at], this.data[this.at + 1]];
    const first = String.fromCharCode(byte ?? 0);
    if (first === "/") return this.name();
    if (first === "(") return this.literal();
    if (first === "<" && next === byte) return this.members(depth);
    if (first === "<") return this.hexadecimal();
    if (first === "[") return this.array(depth);
    const token = this.token();
    if (typeof token === "number") return this.reference(token);
    if (!["true", "false", "null"].includes(token)) throw new Unreadable("PDF has an unknown word");
    return token === "null" ? null : token === "true";
  }

  /** `n g R`, or the number itself. */
  reference(number) {
    const text = String.fromCharCode(...this.data.subarray(this.at, this.at + 24));
    const match = /^[\0\t\n\f\r ]+\d{1,5}[\0\t\n\f\r ]+R(?![^\0\t\n\f\r ()<>[\]{}/%])/.exec(text);
    if (match === null || !Number.isInteger(number) || number < 0) return number;
    this.at += match[0].length;
    return new Ref(number);
  }

  name() {
    this.at += 1;
    const start = this.at;
    while (this.at < this.data.length && !SPACE.has(this.data[this.at]) &&
           !DELIMITERS.has(this.data[this.at])) this.at += 1;
    const raw = String.fromCharCode(...this.data.subarray(start, Math.min(this.at, start + 256)));
    return new Name(raw.replace(/#([0-9a-fA-F]{2})/g, (_, hex) => String.fromCharCode(parseInt(hex, 16))));
  }

  literal() {
    const found = [];
    let open = 1;
    this.at += 1;
    for (;;) {
      const byte = this.data[this.at];
      if (byte === undefined) throw new Unreadable("PDF has a string without an end");
      this.at += 1;
      if (byte === 0x28) open += 1;
      if (byte === 0x29) open -= 1;
      if (open === 0) return Uint8Array.from(found);
      if (byte === 0x5c) this.escaped(found);
      else found.push(byte);
    }
  }

  escaped(found) {
    const text = String.fromCharCode(...this.data.subarray(this.at, this.at + 3));
    const octal = /^[0-7]{1,3}/.exec(text);
    if (octal !== null) {
      found.push(parseInt(octal[0], 8) & 255);
      this.at += octal[0].length;
    } else if (text[0] === "\r" || text[0] === "\n") {
      this.at += text.startsWith("\r\n") ? 2 : 1;
    } else {
      found.push(ESCAPES[text[0]] ?? this.data[this.at]);
      this.at += 1;
    }
  }

  hexadecimal() {
    const end = this.data.indexOf(0x3e, this.at);
    if (end < 0) throw new Unreadable("PDF has a string without an end");
    let digits = "";
    for (const byte of this.data.subarray(this.at + 1, end)) {
      if (!SPACE.has(byte)) digits += String.fromCharCode(byte);
    }
    if (!/^[0-9a-fA-F]*$/.test(digits)) throw new Unreadable("PDF has a bad string");
    this.at = end + 1;
    if (digits.length % 2) digits += "0";
    return Uint8Array.from(digits.match(/../g) ?? [], (pair) => parseInt(pair, 16));
  }

  array(depth) {
    const items = [];
    this.at += 1;
    for (;;) {
      this.space();
      if (this.data[this.at] === 0x5d) break;
      items.push(this.value(depth - 1));
    }
    this.at += 1;
    return items;
  }

  members(depth) {
    const found = new Map();
    this.at += 2;
    for (;;) {
      this.space();
      if (this.data[this.at] === 0x3e && this.data[this.at + 1] === 0x3e) break;
      if (this.data[this.at] !== 0x2f) throw new Unreadable("PDF has a bad dictionary");
      const { text } = this.name();
      found.set(text, this.value(depth - 1));
    }
    this.at += 2;
    return found;
  }
}
