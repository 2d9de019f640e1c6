// A reader of DER (X.690), strict at every level that is read (notary/der.py).

import { concat, fromHex, toBigInt } from "./bytes.js";
import { Malformed } from "./errors.js";

export const BOOLEAN = 0x01;
export const INTEGER = 0x02;
export const BIT_STRING = 0x03;
export const OCTET_STRING = 0x04;
export const NULL = 0x05;
export const OID = 0x06;
export const ENUMERATED = 0x0a;
export const UTC_TIME = 0x17;
export const GENERALIZED_TIME = 0x18;
export const SEQUENCE = 0x30;
export const SET = 0x31;
const MAX_NUMBER_BYTES = 1024;
const MAX_OID_BYTES = 64;

/** The tag of a constructed [number], explicit or implicit. */
export function context(number) {
  return 0xa0 | number;
}

/** Takes the values that stand one after another in `data`. Every method throws Malformed. */
export class Reader {
  constructor(data, what) {
    this.data = data;
    this.what = what;
    this.at = 0;
  }

  /** Of the contents of the one value with `tag` that `data` is. */
  static inside(data, tag, what) {
    const outer = new Reader(data, what);
    const contents = outer.take(tag);
    outer.end();
    return new Reader(contents, what);
  }

  nextTag() {
    return this.at < this.data.length ? this.data[this.at] : null;
  }

  take(tag) {
    const [start, stop] = this.span(tag);
    this.at = stop;
    return this.data.subarray(start, stop);
  }

  takeEncoded(tag) {
    const first = this.at;
    [, this.at] = this.span(tag);
    return this.data.subarray(first, this.at);
  }

  takeIf(tag) {
    return this.nextTag() === tag ? this.take(tag) : null;
  }

  /** The next value whatever its tag (of one byte), with tag and length. */
  takeAny() {
    const tag = this.nextTag();
    if (tag === null || (tag & 0x1f) === 0x1f) throw this.malformed("no value of a plain tag");
    return this.takeEncoded(tag);
  }

  enter(tag, what) {
    return new Reader(this.take(tag), what);
  }

  /** A BigInt (X.690 section 8.3), in its shortest form. */
  integer(tag = INTEGER) {
    const contents = this.take(tag);
    if (contents.length < 1 || contents.length > MAX_NUMBER_BYTES) {
      throw this.malformed(`an INTEGER of ${contents.length} bytes`);
    }
    const high = contents[1] >> 7;
    if (contents.length > 1 && contents[0] === (high ? 0xff : 0x00)) {
      throw this.malformed("an INTEGER not in its shortest form");
    }
    return BigInt.asIntN(contents.length * 8, toBigInt(contents));
  }

  integerIf(tag = INTEGER) {
    return this.nextTag() === tag ? this.integer(tag) : null;
  }

  booleanIf() {
    const contents = this.takeIf(BOOLEAN);
    if (contents === null) return false;
    if (contents.length !== 1 || (contents[0] !== 0 && contents[0] !== 0xff)) {
      throw this.malformed("a BOOLEAN that is neither 00 nor ff");
    }
    return contents[0] === 0xff;
  }

  /** One whose default is FALSE, which DER then leaves out (X.690 section 11.5). */
  trueIf() {
    const written = this.nextTag() === BOOLEAN;
    const value = this.booleanIf();
    if (written && !value) throw this.malformed("a default that is written");
    return value;
  }

  oid() {
    const contents = this.take(OID);
    const last = contents[contents.length - 1];
    if (contents.length < 1 || contents.length > MAX_OID_BYTES || last & 0x80) {
      throw this.malformed("an OBJECT IDENTIFIER too long, or cut off");
    }
    const arcs = [];
    let [value, fresh] = [0n, true];
    for (const byte of contents) {
      if (fresh && byte === 0x80) {
        throw this.malformed("an OBJECT IDENTIFIER not in its shortest form");
      }
      value = (value << 7n) | BigInt(byte & 0x7f);
      fresh = !(byte & 0x80);
      if (fresh) {
        arcs.push(value);
        value = 0n;
      }
    }
    const first = arcs[0] < 80n ? arcs[0] / 40n : 2n;
    return [first, arcs[0] - 40n * first, ...arcs.slice(1)].join(".");
  }

  end() {
    if (this.at !== this.data.length) {
      throw this.malformed(`${this.data.length - this.at} bytes after its last field`);
    }
  }

  malformed(why) {
    return new Malformed(`malformed ${this.what}: ${why}`);
  }

  /** Start and end of the contents of the next value (X.690 sections 8.1.3, 10.1). */
  span(wanted) {
    const { data, at } = this;
    if (this.nextTag() !== wanted) {
      const found = at === data.length ? "nothing" : `tag 0x${data[at].toString(16)}`;
      throw this.malformed(`${found} where tag 0x${wanted.toString(16)} belongs`);
    }
    let length = data[at + 1];
    let start = at + 2;
    if (length === undefined) throw this.malformed("a value that runs beyond its container");
    if (length >= 0x80) {
      const more = length & 0x7f;
      if (more < 1 || more > 4 || data.length < start + more || data[start] === 0) {
        throw this.malformed("a length that is not definite and minimal");
      }
      length = Number(toBigInt(data.subarray(start, start + more)));
      if (length < 0x80) throw this.malformed("a length that is not definite and minimal");
      start += more;
    }
    if (start + length > data.length) {
      throw this.malformed("a value that runs beyond its container");
    }
    return [start, start + length];
  }
}

/** The contents of a BIT STRING of whole bytes. */
export function wholeBits(reader) {
  const contents = reader.take(BIT_STRING);
  if (contents[0] !== 0) throw reader.malformed("a BIT STRING that is not whole bytes");
  return contents.subarray(1);
}

/** The value's tag changed, as an IMPLICIT one is read as what it stands for. */
export function retagged(encoded, tag) {
  return concat([tag], encoded.subarray(1));
}

/** One value in DER. */
export function encode(tag, contents) {
  let length = [contents.length];
  if (contents.length >= 0x80) {
    const digits = contents.length.toString(16);
    const size = fromHex(digits.padStart(digits.length + (digits.length % 2), "0"));
    length = [0x80 | size.length, ...size];
  }
  return concat([tag], length, contents);
}
