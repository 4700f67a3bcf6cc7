/** Formats the request that the page sends as a curl command. */

/**
 * Formats a request as a curl command that is safe to paste into a POSIX shell.
 *
 * @param {{url: string, photoName: string, parameters: [string, string | File][],
 *          resultName: string, withKey: boolean}} request
 */
export function curlCommand({ url, photoName, parameters, resultName, withKey }) {
  const words = [`curl --fail-with-body ${quoted(url)}`];
  // Double quotes: the shell expands the variable, and the page does not show the key.
  if (withKey) words.push('-H "X-Api-Key: $SILHOUETTE_KEY"');
  words.push(`-F ${quoted(`image=@${fileOperand(photoName)}`)}`);
  for (const [name, value] of parameters) words.push(formArgument(name, value));
  words.push(`-o ${quoted(resultName)}`);
  return words.join(" \\\n  ");
}

function formArgument(name, value) {
  if (value instanceof File) return `-F ${quoted(`${name}=@${fileOperand(value.name)}`)}`;
  // -F reads options of its own after a `;`.
  if (value.includes(";")) return `--form-string ${quoted(`${name}=${value}`)}`;
  return `-F ${quoted(`${name}=${value}`)}`;
}

/**
 * Returns a file name for curl's `@name`, in double quotes if it needs them. curl splits other names
 * at `;` and `,`.
 */
function fileOperand(name) {
  return /[;,"\\]/.test(name) ? `"${name.replace(/["\\]/g, "\\$&")}"` : name;
}

function quoted(text) {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
