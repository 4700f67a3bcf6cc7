/** Returns the file name of a result: `holiday.jpg` as a WebP cut-out -> `holiday-cutout.webp`. */
export function resultName(photoName, { output, format, invert }) {
  const stem = photoName.replace(/\.[^.]*$/, "").trim() || "photo";
  const extension = format === "jpeg" ? "jpg" : format;
  return `${stem}-${output}${invert ? "-inverted" : ""}.${extension}`;
}
