/** Round trips of a WebRTC stream, measured for each frame. */

import { RingBuffer } from "./ring-buffer.js";

const RECENT_FRAMES = 100;
/** Frames that wait for their results: 10 s of a usual camera. */
const MAX_PENDING = 300;

/** True if this browser shows the RTP timestamps of sent and of received frames. */
export const canMeasureRoundTrips =
  "RTCRtpScriptTransform" in window && "requestVideoFrameCallback" in HTMLVideoElement.prototype;

/**
 * Measures the milliseconds from the encoding of a camera frame to the drawing of its result. Both
 * have the same RTP timestamp. Results without a known timestamp are ignored.
 */
export class RoundTrips {
  #worker = new Worker(new URL("encoded-frame-worker.js", import.meta.url), { type: "module" });
  #encodedMs = new Map(); // by RTP timestamp, oldest first
  #roundTripsMs = new RingBuffer(RECENT_FRAMES);

  /** @param {RTCRtpSender} sender  sends the camera, and is not connected yet */
  constructor(sender) {
    this.#worker.onmessage = ({ data: { rtpTimestamp, encodedMs } }) => {
      this.#encodedMs.set(rtpTimestamp, encodedMs);
      if (this.#encodedMs.size > MAX_PENDING) this.#encodedMs.delete(this.#encodedMs.keys().next().value);
    };
    this.#worker.onerror = () => { sender.transform = null; }; // frames would wait for the worker
    sender.transform = new RTCRtpScriptTransform(this.#worker);
  }

  /** Recent round trips in milliseconds. */
  get values() { return this.#roundTripsMs.values; }

  /** Notes that the result with this RTP timestamp is drawn. */
  addResult(rtpTimestamp) {
    const encodedMs = this.#encodedMs.get(rtpTimestamp);
    if (encodedMs === undefined) return;
    this.#roundTripsMs.push(performance.timeOrigin + performance.now() - encodedMs);
    for (const sent of this.#encodedMs.keys()) { // results arrive in order: earlier frames have none
      this.#encodedMs.delete(sent);
      if (sent === rtpTimestamp) break;
    }
  }

  stop() { this.#worker.terminate(); }
}
