// The file `certificate.json` attached to a PDF (ISO 32000), found by the cross-references alone:
// tables and streams, updates and object streams included. Nothing is searched for or repaired.

import { startsWith, utf8 } from "./bytes.js";
import { MAX_BYTES } from "./certificate.js";
import { Unreadable } from "./errors.js";
import { Lexer, Name, Ref, Stream } from "./pdf_objects.js";
import { unzlibSync } from "./vendor/vendor.js";

const CERTIFICATE = "certificate.json";
const MAX_UNPACKED = 75_000_000;
const MAX_UPDATES = 256;
const MAX_OBJECTS = 1_000_000;
const MAX_DEPTH = 16;

/** The certificate's bytes. Throws Unreadable where there is none, or more than one. */
export function attachedCertificate(data) {
  const found = new Document(data).attachments().filter(({ names }) => names.includes(CERTIFICATE));
  if (found.length !== 1) {
    throw new Unreadable(`PDF has ${found.length} attachments '${CERTIFICATE}', expected 1`);
  }
  const content = found[0].read();
  if (content.length > MAX_BYTES) {
    throw new Unreadable(`attached certificate has ${content.length} bytes, the limit is ${MAX_BYTES}`);
  }
  return content;
}

class Document {
  constructor(data) {
    this.data = data;
    this.places = new Map();
    this.unpacked = new Map();
    this.trailer = null;
    let [next, updates] = [this.startOfReferences(), 0];
    const seen = new Set();
    while (typeof next === "number" && !seen.has(next)) {
      seen.add(next);
      updates += 1;
      if (updates > MAX_UPDATES) throw new Unreadable("PDF has too many updates");
      const trailer = this.references(next);
      if (typeof trailer.get("XRefStm") === "number") this.references(trailer.get("XRefStm"));
      this.trailer ??= trailer;
      next = trailer.get("Prev");
    }
    if (this.trailer.has("Encrypt")) throw new Unreadable("PDF is encrypted");
  }

  startOfReferences() {
    const tail = this.data.subarray(-2048);
    const text = String.fromCharCode(...tail);
    const match = /startxref\s+(\d+)\s+%%EOF\s*$/.exec(text.slice(text.lastIndexOf("startxref")));
    if (match === null) throw new Unreadable("PDF has no startxref at its end: it is cut off");
    return Number(match[1]);
  }

  /** Reads one section, whose entries stand behind those of newer ones; gives its trailer. */
  references(at) {
    if (startsWith(this.data.subarray(at), utf8("xref"))) return this.table(at + 4);
    const stream = new Lexer(this.data, at).indirect();
    if (!(stream instanceof Stream) || !isName(stream.dictionary.get("Type"), "XRef")) {
      throw new Unreadable("PDF has no cross-references where it says");
    }
    this.entries(stream.dictionary, this.decoded(stream));
    return stream.dictionary;
  }

  table(at) {
    const lexer = new Lexer(this.data, at);
    for (;;) {
      const first = lexer.token();
      if (first === "trailer") return lexer.dictionary();
      const count = lexer.token();
      if (typeof first !== "number" || typeof count !== "number" || count > MAX_OBJECTS) {
        throw new Unreadable("PDF has a bad cross-reference table");
      }
      for (let n = first; n < first + count; n += 1) {
        const [offset, , kind] = [lexer.token(), lexer.token(), lexer.token()];
        this.place(n, kind === "n" ? { offset } : null);
      }
    }
  }

  entries(dictionary, data) {
    const widths = dictionary.get("W");
    const size = dictionary.get("Size");
    const index = dictionary.get("Index") ?? [0, size];
    const width = widths.reduce((sum, each) => sum + each, 0);
    let at = 0;
    for (let n = 0; n + 1 < index.length; n += 2) {
      for (let each = 0; each < index[n + 1]; each += 1) {
        if (at + width > data.length) throw new Unreadable("PDF has a short cross-reference stream");
        const [kind, second, third] = fields(data, at, widths);
        const places = { 1: { offset: second }, 2: { inside: second, index: third } };
        this.place(index[n] + each, places[kind] ?? null);
        at += width;
      }
    }
  }

  place(number, place) {
    if (!this.places.has(number)) this.places.set(number, place);
    if (this.places.size > MAX_OBJECTS) throw new Unreadable("PDF has too many objects");
  }

  /** The value itself, wherever it stands. */
  resolve(value, depth = 0) {
    if (!(value instanceof Ref)) return value;
    if (depth > MAX_DEPTH) throw new Unreadable("PDF has references without end");
    const place = this.places.get(value.number) ?? null;
    if (place === null) return null;
    const found = place.inside === undefined
      ? new Lexer(this.data, place.offset).indirect(value.number)
      : this.packedObject(place.inside, value.number, depth + 1);
    return this.resolve(found, depth + 1);
  }

  packedObject(container, number, depth) {
    if (!this.unpacked.has(container)) {
      const stream = this.resolve(new Ref(container), depth);
      if (!(stream instanceof Stream)) throw new Unreadable("PDF has no object stream where it says");
      const data = this.decoded(stream);
      const lexer = new Lexer(data, 0);
      const offsets = new Map();
      for (let n = 0; n < stream.dictionary.get("N"); n += 1) {
        const [each, offset] = [lexer.token(), lexer.token()];
        if (typeof each !== "number") throw new Unreadable("PDF has a bad object stream");
        offsets.set(each, offset + stream.dictionary.get("First"));
      }
      this.unpacked.set(container, { data, offsets });
    }
    const { data, offsets } = this.unpacked.get(container);
    return offsets.has(number) ? new Lexer(data, offsets.get(number)).value() : null;
  }

  /** A stream's bytes, its filters undone. */
  decoded({ dictionary, start }) {
    const length = this.resolve(dictionary.get("Length"));
    if (typeof length !== "number" || start + length > this.data.length) {
      throw new Unreadable("PDF has a stream that runs over its end");
    }
    const raw = this.data.subarray(start, start + length);
    const filter = [this.resolve(dictionary.get("Filter")) ?? []].flat();
    const parameters = [this.resolve(dictionary.get("DecodeParms")) ?? null].flat();
    if (!filter.length) return raw;
    if (filter.length > 1 || !isName(filter[0], "FlateDecode")) {
      throw new Unreadable("PDF has a stream with filters not known here");
    }
    let data;
    try {
      const room = Math.min(MAX_UNPACKED, raw.length * 1100 + 1024);
      data = unzlibSync(raw, { out: new Uint8Array(room) }).slice();
    } catch (error) {
      throw new Unreadable(`PDF has a stream that cannot be unpacked: ${error.message}`);
    }
    return unpredicted(data, this.resolve(parameters[0]));
  }

  /** {names, read} of each embedded file in the catalog's name tree. */
  attachments() {
    const catalog = this.dictionary(this.trailer.get("Root"));
    const tree = this.dictionary(this.dictionary(catalog?.get("Names"))?.get("EmbeddedFiles"));
    return tree === null ? [] : [...this.leaves(tree, 0)];
  }

  *leaves(node, depth) {
    if (depth > MAX_DEPTH) throw new Unreadable("PDF has a name tree without end");
    for (const kid of this.resolve(node.get("Kids")) ?? []) {
      const below = this.dictionary(kid);
      if (below !== null) yield* this.leaves(below, depth + 1);
    }
    const pairs = this.resolve(node.get("Names")) ?? [];
    for (let at = 0; at + 1 < pairs.length; at += 2) {
      const specification = this.dictionary(pairs[at + 1]);
      if (specification === null) continue;
      const other = this.resolve(specification.get("UF") ?? specification.get("F"));
      yield {
        names: [this.resolve(pairs[at]), other].map(textOf),
        read: () => this.embedded(specification),
      };
    }
  }

  embedded(specification) {
    const files = this.dictionary(specification.get("EF"));
    const stream = this.resolve(files?.get("UF") ?? files?.get("F"));
    if (!(stream instanceof Stream)) throw new Unreadable("PDF has an attachment without a file");
    return this.decoded(stream);
  }

  dictionary(value) {
    const found = this.resolve(value ?? null);
    return found instanceof Map ? found : null;
  }
}

function isName(value, text) {
  return value instanceof Name && value.text === text;
}

function fields(data, at, widths) {
  return widths.map((width, n) => {
    if (width === 0 && n === 0) return 1;
    let value = 0;
    for (let each = 0; each < width; each += 1, at += 1) value = value * 256 + data[at];
    return value;
  });
}

/** A text string (ISO 32000 section 7.9.2): UTF-16 or UTF-8 where it says so. */
function textOf(bytes) {
  if (!(bytes instanceof Uint8Array)) return null;
  if (startsWith(bytes, [0xfe, 0xff])) return new TextDecoder("utf-16be").decode(bytes);
  if (startsWith(bytes, [0xff, 0xfe])) return new TextDecoder("utf-16le").decode(bytes);
  return new TextDecoder().decode(bytes);
}

/** PNG predictors (ISO 32000 section 7.4.4.4), as cross-reference streams use them. */
function unpredicted(data, parameters) {
  const predictor = parameters instanceof Map ? parameters.get("Predictor") ?? 1 : 1;
  if (predictor === 1) return data;
  const columns = parameters.get("Columns") ?? 1;
  const plain = ["Colors", "BitsPerComponent"].every((name) => {
    const value = parameters.get(name);
    return value === undefined || value === (name === "Colors" ? 1 : 8);
  });
  if (predictor < 10 || !plain) throw new Unreadable("PDF has a predictor not known here");
  const rows = Math.floor(data.length / (columns + 1));
  const out = new Uint8Array(rows * columns);
  for (let row = 0; row < rows; row += 1) {
    const kind = data[row * (columns + 1)];
    for (let column = 0; column < columns; column += 1) {
      const at = row * columns + column;
      const left = column ? out[at - 1] : 0;
      const up = row ? out[at - columns] : 0;
      const corner = row && column ? out[at - columns - 1] : 0;
      const added = [0, left, up, (left + up) >> 1, paeth(left, up, corner)][kind];
      if (added === undefined) throw new Unreadable("PDF has a predictor not known here");
      out[at] = data[row * (columns + 1) + 1 + column] + added;
    }
  }
  return out;
}

function paeth(left, up, corner) {
  const guess = left + up - corner;
  const [a, b, c] = [left, up, corner].map((each) => Math.abs(guess - each));
  if (a <= b && a <= c) return left;
  return b <= c ? up : corner;
}
