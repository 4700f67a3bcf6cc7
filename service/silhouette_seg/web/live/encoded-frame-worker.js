/**
 * Worker that passes the encoded frames of a sender on unchanged, and posts the RTP timestamp of each
 * with the time, in milliseconds since the epoch.
 */
onrtctransform = ({ transformer: { readable, writable } }) => {
  const passOn = new TransformStream({
    transform(frame, controller) {
      const { rtpTimestamp = frame.timestamp } = frame.getMetadata(); // older browsers have `timestamp`
      postMessage({ rtpTimestamp, encodedMs: performance.timeOrigin + performance.now() });
      controller.enqueue(frame);
    },
  });
  readable.pipeThrough(passOn).pipeTo(writable);
};
