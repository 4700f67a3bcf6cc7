/** What the saved file is called: `holiday.jpg` as a cut-out in WebP is `holiday-cutout.webp`. */
export function resultName(photoName, { output, format, invert }) {
  const stem = photoName.replace(/\.[^.]*$/, "").trim() || "photo";
  const extension = format === "jpeg" ? "jpg" : format;
  return `${stem}-${output}${invert ? "-inverted" : ""}.${extension}`;
}
