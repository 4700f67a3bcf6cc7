import { Problem } from "./problem.js";

/** What we ask for; a camera that cannot do it gives what comes nearest. */
const WANTED = { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30 } };

const REASONS = {
  NotAllowedError: ["The browser may not use the camera", "Allow it beside the address of the page, then try again."],
  NotFoundError: ["No camera was found", "Connect one, then try again."],
  NotReadableError: ["The camera cannot be read", "Another program may be using it. Close that, then try again."],
  OverconstrainedError: ["That camera is not there any more", "Choose another one, then try again."],
};

/**
 * @param {string} id  of a camera of `listCameras`; empty for whichever the browser prefers
 * @returns {Promise<MediaStream>}
 * @throws {Problem}
 */
export async function openCamera(id) {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new Problem({
      title: "This page may not use a camera",
      detail: "Browsers allow that only over HTTPS, or on localhost. Open the page there.",
    });
  }
  const which = id ? { deviceId: { exact: id } } : { facingMode: "user" };
  try {
    return await navigator.mediaDevices.getUserMedia({ video: { ...WANTED, ...which }, audio: false });
  } catch (error) {
    const [title, detail] = REASONS[error.name] ?? ["The camera did not start", String(error.message)];
    throw new Problem({ title, detail, retryable: true });
  }
}

/** The camera is unplugged, or the permission is taken back. */
export function cameraEnded() {
  return new Problem({ title: "The camera stopped", detail: "Was it unplugged, or the permission taken back?", retryable: true });
}

/** Named only once the page was allowed to use one. */
export async function listCameras() {
  const devices = await navigator.mediaDevices.enumerateDevices();
  return devices.filter(({ kind, deviceId }) => kind === "videoinput" && deviceId);
}

/** The light of the camera goes out. */
export function closeCamera(stream) {
  for (const track of stream?.getTracks() ?? []) track.stop();
}
