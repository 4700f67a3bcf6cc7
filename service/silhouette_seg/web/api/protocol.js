/** Binary messages of `silhouette.v1`, as documented in streaming/protocol.py. */

export const SUBPROTOCOL = "silhouette.v1";
export const MessageKind = Object.freeze({ FRAME: 1, RESULT: 2, ERROR: 3, SKIPPED: 4 });

const MAGIC = 0x484c4953; // "SILH", little-endian
const VERSION = 1;
const HEADER_BYTES = 20;
const RESULT_HEADER_BYTES = 12;

/**
 * Encodes the header of a FRAME. The image follows in the same message.
 *
 * @param {number} seq  0..2³²-1
 * @param {number} sentMs  time of performance.now(); the answer returns it with microsecond precision
 * @returns {ArrayBuffer}
 */
export function packFrameHeader(seq, sentMs) {
  const header = new DataView(new ArrayBuffer(HEADER_BYTES));
  header.setUint32(0, MAGIC, true);
  header.setUint8(4, VERSION);
  header.setUint8(5, MessageKind.FRAME);
  header.setUint32(8, seq, true);
  header.setBigUint64(12, BigInt(Math.round(1000 * sentMs)), true);
  return header.buffer;
}

/**
 * Splits a message into its header fields and its body.
 *
 * @param {ArrayBuffer} message
 * @returns {{kind: number, flags: number, seq: number, sentMs: number, body: ArrayBuffer}}
 * @throws {RangeError} the message does not conform to the protocol
 */
export function unpackMessage(message) {
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
 * Splits the body of a RESULT.
 *
 * @param {ArrayBuffer} body
 * @returns {{width: number, height: number, skipped: number, serverMs: number, image: ArrayBuffer}}
 *   `skipped` counts the frames of the stream skipped so far
 */
export function unpackResult(body) {
  const header = new DataView(body, 0, RESULT_HEADER_BYTES);
  return {
    width: header.getUint16(0, true),
    height: header.getUint16(2, true),
    skipped: header.getUint32(4, true),
    serverMs: header.getUint32(8, true) / 1000,
    image: body.slice(RESULT_HEADER_BYTES),
  };
}
