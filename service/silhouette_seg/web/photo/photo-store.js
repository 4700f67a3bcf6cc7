/**
 * Keeps the chosen photos in the IndexedDB of the browser, so that they survive a reload of the tab.
 * Nothing is kept where storage is blocked.
 */

const DATABASE = "silhouette";
const STORE = "photos";
const TAB_KEY = "photo-store tab";
/** Photos of closed tabs are deleted after this time, when the page is next opened. */
const MAX_AGE_MS = 60 * 60 * 1000;
/** Larger batches are not kept. */
const MAX_BYTES = 256 * 2 ** 20;

/** Replaces the photos of this tab. */
export async function keepPhotos(photos) {
  const bytes = photos.reduce((sum, { size }) => sum + size, 0);
  const record = { photos: bytes > MAX_BYTES ? [] : photos, savedMs: Date.now() };
  await withStore("readwrite", (store) => store.put(record, tabId())).catch(() => {});
}

/** @returns {Promise<File[]>} the photos of this tab before its reload */
export async function keptPhotos() {
  await deleteOldPhotos().catch(() => {});
  const record = await withStore("readonly", (store) => store.get(tabId())).catch(() => null);
  return record?.photos ?? [];
}

async function deleteOldPhotos() {
  const keys = await withStore("readonly", (store) => store.getAllKeys());
  for (const key of keys.filter((key) => key !== tabId())) {
    const { savedMs } = await withStore("readonly", (store) => store.get(key));
    if (Date.now() - savedMs > MAX_AGE_MS) await withStore("readwrite", (store) => store.delete(key));
  }
}

/** Returns an id that this tab keeps when it is reloaded. */
function tabId() {
  let id = sessionStorage.getItem(TAB_KEY);
  if (!id) {
    id = crypto.getRandomValues(new Uint32Array(4)).join("-");
    sessionStorage.setItem(TAB_KEY, id);
  }
  return id;
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
  const opening = indexedDB.open(DATABASE, 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore(STORE);
  return promiseOf(opening);
}

function promiseOf(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
