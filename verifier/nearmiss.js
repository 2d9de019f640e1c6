// Why a file is not the registered one, where an innocent reason can be tested: the registered digest
// is that of the file with one thing undone (notary/nearmiss.py).

import { concat, startsWith } from "./bytes.js";
import { sha256Of } from "./hashing.js";

const MAX_TEXT_BYTES = 64 * 1024 * 1024;
const BOM = Uint8Array.of(0xef, 0xbb, 0xbf);
const [CR, LF] = [13, 10];

/** The code of the reason why the File or Blob has not the registered `sha256` (hex) and `size`; null
 *  where none was found. */
export async function nearMiss(file, { sha256, size }, progress) {
  if (file.size > size && size > 0) {
    if ((await sha256Of(file.slice(0, size), progress)) === sha256) return "bytes_appended";
  }
  if (file.size > MAX_TEXT_BYTES) return null;
  for (const [code, variant] of variants(new Uint8Array(await file.arrayBuffer()), size)) {
    if ((await sha256Of(new Blob([variant]), () => {})) === sha256) return code;
  }
  return null;
}

/** The text as other systems would have saved it, where it then has `size` bytes. */
function* variants(data, size) {
  const bare = startsWith(data, BOM) ? data.subarray(BOM.length) : data;
  const other = bare === data ? concat(BOM, data) : bare;
  if (other.length === size) yield ["bom_only", other];
  for (const end of [[LF], [CR, LF], [CR]]) {
    const lines = withLineEnds(bare, end);
    if (lines.length === size) yield ["line_ends_only", lines];
    if (lines.length + BOM.length === size) yield ["line_ends_only", concat(BOM, lines)];
  }
}

/** With every CR LF, CR and LF made `end`. */
function withLineEnds(data, end) {
  const out = new Uint8Array(2 * data.length);
  let length = 0;
  for (let at = 0; at < data.length; at += 1) {
    const byte = data[at];
    if (byte !== CR && byte !== LF) {
      out[length] = byte;
      length += 1;
    } else {
      for (const each of end) {
        out[length] = each;
        length += 1;
      }
      if (byte === CR && data[at + 1] === LF) at += 1;
    }
  }
  return out.subarray(0, length);
}
