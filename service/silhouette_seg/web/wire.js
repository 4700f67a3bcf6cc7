/** The messages of `silhouette.v1`; service/silhouette_seg/streaming/protocol.py says what they mean. */

export const SUBPROTOCOL = "silhouette.v1";
export const Kind = Object.freeze({ FRAME: 1, RESULT: 2, ERROR: 3, SKIPPED: 4 });

const MAGIC = 0x484c4953; // "SILH", little-endian
const VERSION = 1;
const HEADER_BYTES = 20;
const RESULT_BYTES = 12;

/**
 * The header of a frame; its picture follows in the same message.
 * @param {number} seq  0..2³²-1
 * @param {number} sentMs  of performance.now(); comes back with the answer, to a microsecond
 * @returns {ArrayBuffer}
 */
export function frameHeader(seq, sentMs) {
  const header = new DataView(new ArrayBuffer(HEADER_BYTES));
  header.setUint32(0, MAGIC, true);
  header.setUint8(4, VERSION);
  header.setUint8(5, Kind.FRAME);
  header.setUint32(8, seq, true);
  header.setBigUint64(12, BigInt(Math.round(1000 * sentMs)), true);
  return header.buffer;
}

/**
 * @param {ArrayBuffer} message
 * @returns {{kind: number, flags: number, seq: number, sentMs: number, body: ArrayBuffer}}
 * @throws {RangeError} it is no message of this protocol
 */
export function readMessage(message) {
  const header = new DataView(message);
  if (header.getUint32(0, true) !== MAGIC || header.getUint8(4) !== VERSION) {
    throw new RangeError("not a message of silhouette.v1");
  }
  return {
    kind: header.getUint8(5),
    flags: header.getUint16(6, true),
    seq: header.getUint32(8, true),
    sentMs: Number(header.getBigUint64(12, true)) / 1000,
    body: message.slice(HEADER_BYTES),
  };
}

/**
 * @param {ArrayBuffer} body  of a RESULT
 * @returns {{width: number, height: number, skipped: number, serverMs: number, picture: ArrayBuffer}}
 *   `skipped` frames of the stream so far
 */
export function readResult(body) {
  const head = new DataView(body, 0, RESULT_BYTES);
  return {
    width: head.getUint16(0, true),
    height: head.getUint16(2, true),
    skipped: head.getUint32(4, true),
    serverMs: head.getUint32(8, true) / 1000,
    picture: body.slice(RESULT_BYTES),
  };
}
