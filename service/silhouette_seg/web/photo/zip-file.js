/**
 * Writes ZIP files without compression, because images are compressed already. The format is that of
 * APPNOTE.TXT of PKWARE, without its extension ZIP64.
 */

import { Problem } from "../api/problem.js";

const LOCAL_HEADER = { signature: 0x04034b50, bytes: 30 };
const CENTRAL_HEADER = { signature: 0x02014b50, bytes: 46 };
const END_RECORD = { signature: 0x06054b50, bytes: 22 };
const VERSION = 20; // of the format: 2.0
const UTF8_NAMES = 1 << 11;
/** Largest offset of a ZIP file, in bytes. */
const MAX_BYTES = 2 ** 32 - 1;

/**
 * @param {{name: string, blob: Blob}[]} files  the names are unique
 * @returns {Promise<Blob>}
 * @throws {Problem} the files are too large together
 */
export async function zipFile(files) {
  const parts = [];
  const directory = [];
  const modified = dosTime(new Date());
  let offset = 0;
  for (const { name, blob } of files) {
    const entry = { name: new TextEncoder().encode(name), crc: crc32(await blob.arrayBuffer()), size: blob.size, modified };
    const header = entryHeader(LOCAL_HEADER, entry);
    parts.push(header, entry.name, blob);
    directory.push(centralHeader(entry, offset), entry.name);
    offset += header.byteLength + entry.name.length + blob.size;
    if (offset > MAX_BYTES) throw tooLarge();
  }
  const directoryBytes = directory.reduce((sum, part) => sum + part.byteLength, 0);
  return new Blob([...parts, ...directory, endRecord(files.length, directoryBytes, offset)], { type: "application/zip" });
}

/** Makes names unique: the second `a.png` becomes `a-2.png`. */
export function uniqueNames(names) {
  const taken = new Set();
  return names.map((name) => {
    const [, stem, suffix] = /^(.*?)(\.[^.]*)?$/s.exec(name);
    let unique = name;
    for (let number = 2; taken.has(unique); number += 1) unique = `${stem}-${number}${suffix ?? ""}`;
    taken.add(unique);
    return unique;
  });
}

/** Returns a header of a file, with the fields that both kinds of header share. */
function entryHeader({ signature, bytes }, { name, crc, size, modified }, shift = 0) {
  const header = new DataView(new ArrayBuffer(bytes));
  header.setUint32(0, signature, true);
  header.setUint16(shift + 4, VERSION, true);
  header.setUint16(shift + 6, UTF8_NAMES, true);
  header.setUint32(shift + 10, modified, true);
  header.setUint32(shift + 14, crc, true);
  header.setUint32(shift + 18, size, true); // compressed
  header.setUint32(shift + 22, size, true);
  header.setUint16(shift + 26, name.length, true);
  return header;
}

function centralHeader(entry, offset) {
  const header = entryHeader(CENTRAL_HEADER, entry, 2);
  header.setUint16(4, VERSION, true); // of the writer
  header.setUint32(42, offset, true);
  return header;
}

function endRecord(count, directoryBytes, directoryOffset) {
  const record = new DataView(new ArrayBuffer(END_RECORD.bytes));
  record.setUint32(0, END_RECORD.signature, true);
  record.setUint16(8, count, true); // on this disk
  record.setUint16(10, count, true);
  record.setUint32(12, directoryBytes, true);
  record.setUint32(16, directoryOffset, true);
  return record;
}

/** Returns a time as MS-DOS packs it: the date in the upper 16 bits, seconds halved. */
function dosTime(date) {
  const day = ((date.getFullYear() - 1980) << 9) | ((date.getMonth() + 1) << 5) | date.getDate();
  return ((day << 16) | (date.getHours() << 11) | (date.getMinutes() << 5) | (date.getSeconds() >> 1)) >>> 0;
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit += 1) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  return crc;
});

function crc32(buffer) {
  let crc = 0xffffffff;
  for (const byte of new Uint8Array(buffer)) crc = (crc >>> 8) ^ CRC_TABLE[(crc ^ byte) & 0xff];
  return (crc ^ 0xffffffff) >>> 0;
}

function tooLarge() {
  return new Problem({
    title: "The results are too large for one ZIP file",
    detail: "A ZIP file holds at most 4 GB. Save the results one at a time, or use the command line.",
    limit: MAX_BYTES,
  });
}
