/** Returns the file name of a result: `holiday.jpg` as a WebP cut-out -> `holiday-cutout.webp`. */
export function resultName(photoName, { output, format, invert }) {
  const extension = format === "jpeg" ? "jpg" : format;
  return `${stemOf(photoName)}-${output}${invert ? "-inverted" : ""}.${extension}`;
}

/** Returns the file name of a report: `holiday.jpg` -> `holiday-report.json`. */
export function reportName(photoName) {
  return `${stemOf(photoName)}-report.json`;
}

function stemOf(photoName) {
  return photoName.replace(/\.[^.]*$/, "").trim() || "photo";
}
