/** Errors that the page shows to the user. */

/** An error to show: a title, an explanation, and a reference to quote in a bug report. */
export class Problem extends Error {
  /**
   * @param {{status?: number, code?: string, title: string, detail?: string, requestId?: string,
   *          retryable?: boolean, limit?: number, actual?: number}} fields
   */
  constructor(fields) {
    super(fields.title);
    Object.assign(this, { status: 0, code: "", detail: "", requestId: "", retryable: false }, fields);
  }

  /** Limit, HTTP status, error code and request id in one line. */
  get reference() {
    const actual = this.actual == null ? "" : `, got ${formatNumber(this.actual)}`;
    const limit = this.limit == null ? "" : `limit ${formatNumber(this.limit)}${actual}`;
    const code = this.status ? `${this.status} ${this.code ?? ""}`.trim() : "";
    return [limit, code, this.requestId && `request ${this.requestId}`].filter(Boolean).join(" · ");
  }
}

/**
 * Returns the error of an HTTP response from its problem document. Any other body becomes an error
 * with the status alone.
 */
export async function problemFrom(response) {
  const requestId = response.headers.get("X-Request-Id") ?? "";
  const body = await response.json().catch(() => null);
  if (body === null || typeof body.title !== "string") {
    const title = `The server responded with ${response.status} ${response.statusText}`.trim();
    return new Problem({ status: response.status, title, requestId, retryable: response.status >= 500 });
  }
  const { code, title, detail, retryable, limit, actual } = body;
  return new Problem({
    status: response.status, code, title, detail, retryable, limit, actual,
    requestId: body.request_id ?? requestId,
  });
}

/** Returns the error for a fetch() that failed, because the server or the network is down. */
export function unreachable() {
  return new Problem({
    title: "The server cannot be reached",
    detail: "Check that it is running and that you are connected, then try again.",
    retryable: true,
  });
}

/** Returns the error for a file that the browser cannot read. */
export function unreadable(file) {
  return new Problem({
    title: `${file.name} cannot be read`,
    detail: "It is a folder, or it was changed or deleted. Choose the photo again.",
  });
}

function formatNumber(value) {
  return Number(value).toLocaleString("en-GB");
}
