/**
 * Keeps the chosen photos in the IndexedDB of the browser, so that they survive a reload of the tab.
 * They are encrypted. The key is in the session storage, which ends with the tab: without it nobody
 * can read what a closed tab leaves. Nothing is kept where storage or encryption is blocked, such as
 * on pages without HTTPS.
 */

const DATABASE = "silhouette";
const VERSION = 2; // 1 was not encrypted
const STORE = "photos";
const TAB_ID = "photo-store tab";
const TAB_KEY = "photo-store key";
const CIPHER = "AES-GCM";
const IV_BYTES = 12;
/** Larger batches are not kept. */
const MAX_BYTES = 256 * 2 ** 20;

/** Replaces the photos of this tab. */
export async function keepPhotos(photos) {
  try {
    const bytes = photos.reduce((sum, { size }) => sum + size, 0);
    const key = await tabKey();
    const records = [];
    for (const photo of bytes > MAX_BYTES ? [] : photos) records.push(await encrypt(photo, key));
    await withStore("readwrite", (store) => store.put(records, tabId()));
  } catch {
    // Storage is blocked or full: a reload starts without photos.
  }
}

/** @returns {Promise<File[]>} the photos of this tab before its reload */
export async function keptPhotos() {
  try {
    await deleteOtherPhotos();
    const records = await withStore("readonly", (store) => store.get(tabId())) ?? [];
    const key = await tabKey();
    return await Promise.all(records.map((record) => decrypt(record, key)));
  } catch {
    return [];
  }
}

/** Deletes the photos of closed tabs. An open tab holds a lock with its id. */
async function deleteOtherPhotos() {
  navigator.locks.request(tabId(), () => new Promise(() => {})); // until the tab is closed
  const { held, pending } = await navigator.locks.query();
  const open = new Set([tabId(), ...[...held, ...pending].map(({ name }) => name)]);
  const ids = await withStore("readonly", (store) => store.getAllKeys());
  for (const id of ids.filter((id) => !open.has(id))) await withStore("readwrite", (store) => store.delete(id));
}

async function encrypt(photo, key) {
  const seal = async (bytes) => {
    const iv = crypto.getRandomValues(new Uint8Array(IV_BYTES));
    return { iv, data: new Blob([await crypto.subtle.encrypt({ name: CIPHER, iv }, key, bytes)]) };
  };
  return { type: photo.type, name: await seal(new TextEncoder().encode(photo.name)), content: await seal(await photo.arrayBuffer()) };
}

async function decrypt({ type, name, content }, key) {
  const unseal = async ({ iv, data }) => crypto.subtle.decrypt({ name: CIPHER, iv }, key, await data.arrayBuffer());
  return new File([await unseal(content)], new TextDecoder().decode(await unseal(name)), { type });
}

/** Returns the encryption key of this tab, from its session storage. */
function tabKey() {
  const bytes = sessionValue(TAB_KEY, 32).split(",").map(Number);
  return crypto.subtle.importKey("raw", new Uint8Array(bytes), CIPHER, false, ["encrypt", "decrypt"]);
}

/** Returns an id that this tab keeps when it is reloaded. */
function tabId() {
  return sessionValue(TAB_ID, 16);
}

/** Returns random bytes as text, which this tab keeps under a name when it is reloaded. */
function sessionValue(name, bytes) {
  if (!sessionStorage.getItem(name)) sessionStorage.setItem(name, crypto.getRandomValues(new Uint8Array(bytes)).join());
  return sessionStorage.getItem(name);
}

async function withStore(mode, operate) {
  const database = await openDatabase();
  try {
    return await promiseOf(operate(database.transaction(STORE, mode).objectStore(STORE)));
  } finally {
    database.close();
  }
}

function openDatabase() {
  const opening = indexedDB.open(DATABASE, VERSION);
  opening.onupgradeneeded = () => {
    const { result: database } = opening;
    if (database.objectStoreNames.contains(STORE)) database.deleteObjectStore(STORE);
    database.createObjectStore(STORE);
  };
  return promiseOf(opening);
}

function promiseOf(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
