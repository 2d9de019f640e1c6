// The forms a certificate comes in, told by the first bytes: the JSON itself, the PDF, the bundle.

import { startsWith, utf8 } from "./bytes.js";
import { MAX_BYTES } from "./certificate.js";
import { Unreadable } from "./errors.js";
import { attachedCertificate } from "./pdf.js";
import { readBundle } from "./zip.js";

const MAX_PDF_BYTES = 64 * 1024 * 1024;
const HEAD_BYTES = 1024;
// ETSI EN 319 162-1, annex A.1: the type stands at a fixed place.
const SIMPLE = utf8("mimetypeapplication/vnd.etsi.asic-s+zip");
// How every certificate begins, its names being sorted; other JSON documents do not.
const FIRST_MEMBER = utf8('{"certificate_id":');

/** {form, certificate: bytes, original: {name, offset, size} | null} of a File or Blob. Throws
 *  Unreadable. */
export async function readContainer(file) {
  const head = new Uint8Array(await file.slice(0, HEAD_BYTES).arrayBuffer());
  if (startsWith(head, utf8("{"))) {
    return { form: "json", certificate: await whole(file, MAX_BYTES), original: null };
  }
  if (startsWith(head, utf8("PK\u0003\u0004"))) {
    if (startsWith(head.subarray(30), SIMPLE)) {
      throw new Unreadable(`'${file.name}' is an ASiC-S container: a file and its timestamp, no certificate`);
    }
    return { form: "bundle", ...(await readBundle(file)) };
  }
  if (String.fromCharCode(...head).includes("%PDF-")) {
    const data = await whole(file, MAX_PDF_BYTES);
    return { form: "pdf", certificate: fromPdf(data), original: null };
  }
  throw new Unreadable(`'${file.name}' is no certificate: neither certificate.json, nor a PDF, nor a bundle`);
}

function fromPdf(data) {
  try {
    return attachedCertificate(data);
  } catch (error) {
    if (error instanceof RangeError || error instanceof TypeError) {
      throw new Unreadable(`PDF cannot be read: ${error.message}`);
    }
    throw error;
  }
}

async function whole(file, limit) {
  if (file.size > limit) {
    throw new Unreadable(`container has ${file.size} bytes, the limit is ${limit}`);
  }
  return new Uint8Array(await file.arrayBuffer());
}

/** Whether the document in hand is itself a certificate, handed in by mistake. */
export async function isCertificate(file) {
  if (file.size > MAX_BYTES) return false;
  try {
    const { certificate, original } = await readContainer(file);
    return original === null && startsWith(certificate, FIRST_MEMBER);
  } catch (error) {
    if (error instanceof Unreadable) return false;
    throw error;
  }
}
