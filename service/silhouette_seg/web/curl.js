/**
 * The curl command of a request, safe to paste into a POSIX shell.
 *
 * @param {{url: string, photoName: string, parameters: [string, string | File][],
 *          resultName: string, withKey: boolean}} request
 */
export function curlCommand({ url, photoName, parameters, resultName, withKey }) {
  const parts = [`curl --fail-with-body ${quoted(url)}`];
  // Double quotes: the shell has to expand the variable, and the key is not shown on the page.
  if (withKey) parts.push('-H "X-Api-Key: $SILHOUETTE_KEY"');
  parts.push(`-F ${quoted(`image=@${fileOperand(photoName)}`)}`);
  for (const [name, value] of parameters) parts.push(formArgument(name, value));
  parts.push(`-o ${quoted(resultName)}`);
  return parts.join(" \\\n  ");
}

function formArgument(name, value) {
  if (value instanceof File) return `-F ${quoted(`${name}=@${fileOperand(value.name)}`)}`;
  // After a `;` the option -F expects words of its own.
  if (value.includes(";")) return `--form-string ${quoted(`${name}=${value}`)}`;
  return `-F ${quoted(`${name}=${value}`)}`;
}

/** curl splits `@name` at `;` and `,` unless it stands in double quotes. */
function fileOperand(name) {
  return /[;,"\\]/.test(name) ? `"${name.replace(/["\\]/g, "\\$&")}"` : name;
}

function quoted(text) {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
