// What neither the server nor HTML settles by itself: closing filters, keys, and nothing else.
const openChips = () => document.querySelectorAll("details.chip[open]");

document.addEventListener("click", (event) => {
  for (const chip of openChips()) if (!chip.contains(event.target)) chip.open = false;
  const done = event.target.closest("[data-close]");
  if (done) {
    const chip = done.closest("details");
    chip.open = false;
    chip.querySelector("summary").focus();
  }
});

const isTyping = (element) => element.matches("input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable]");

document.addEventListener("keydown", (event) => {
  const [chip] = openChips();
  const found = event.target.closest?.(".everywhere");
  if (event.key === "Escape" && found) {
    document.activeElement.blur();
    return;
  }
  if (found && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
    const doors = [...found.querySelectorAll("input, .found a")];
    const next = doors[doors.indexOf(document.activeElement) + (event.key === "ArrowDown" ? 1 : -1)];
    if (next) {
      event.preventDefault();
      next.focus();
    }
    return;
  }
  if (event.key === "Escape" && chip) {
    chip.open = false;
    chip.querySelector("summary").focus();
    return;
  }
  const everywhere = (event.ctrlKey || event.metaKey) && event.key === "k";
  const plain = !event.ctrlKey && !event.metaKey && !event.altKey && !isTyping(event.target);
  const here = event.key === "/" && plain && !localStorage.getItem("single-keys-off");
  if (!everywhere && !here) return;
  const field = (here && document.getElementById("q")) || document.getElementById("search-everywhere");
  if (!field) return;
  event.preventDefault();
  field.focus();
  field.select();
});

// A choice that only reloads the page needs no button when scripts run.
document.addEventListener("change", (event) => {
  if (event.target.matches("[data-submit]")) event.target.form.requestSubmit();
});

// A merge field goes where the cursor was last, and the form hears of it as of something typed.
let lastTyped = null;
document.addEventListener("focusin", (event) => {
  if (event.target.matches("#draft input[type=text], #draft input:not([type]), #draft textarea")) lastTyped = event.target;
});
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-insert]");
  if (!button || !lastTyped?.isConnected) return;
  const inEnglish = lastTyped.closest("[lang]").lang === "en";
  lastTyped.setRangeText(inEnglish ? button.dataset.insertEn : button.dataset.insert, lastTyped.selectionStart, lastTyped.selectionEnd, "end");
  lastTyped.focus();
  lastTyped.dispatchEvent(new InputEvent("input", { bubbles: true }));
});

// What is shown once can be copied without marking it; where a browser does not allow it, it is marked.
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const field = document.getElementById(button.dataset.copy);
  field.select();
  try {
    await navigator.clipboard.writeText(field.value);
    button.querySelector("[role=status]").textContent = "Copiado";
  } catch {
    field.focus();
  }
});

document.addEventListener("click", (event) => {
  if (event.target.closest("[data-print]")) window.print();
});

// The id of what a swap filled.
const targetOf = (event) => {
  const target = event.detail?.ctx?.target;
  return typeof target === "string" ? target.replace(/^#/, "") : target?.id;
};

// Help stands beside the page until it is closed; what was being typed stays.
const help = () => document.getElementById("help");
const closeHelp = () => {
  if (!help()?.childElementCount) return false;
  help().replaceChildren();
  document.getElementById("open-help")?.focus();
  return true;
};
document.addEventListener("click", (event) => {
  if (event.target.closest("[data-close-help]")) closeHelp();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && help()?.contains(event.target)) closeHelp();
});
document.addEventListener("htmx:after:swap", (event) => {
  if (targetOf(event) === "help") document.getElementById("help-title").focus();
});

// Ctrl+Enter saves the form in which one is typing.
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target.form) {
    event.preventDefault();
    event.target.form.requestSubmit();
  }
});

// Single keys open what the page names (n: new, e: edit, ?: help). Who is disturbed by them switches them off for this browser.
const KEYS_OFF = "single-keys-off";
const tellKeys = () => {
  const button = document.querySelector("[data-keys]");
  if (button) button.setAttribute("aria-pressed", localStorage.getItem(KEYS_OFF) ? "false" : "true");
};
document.addEventListener("DOMContentLoaded", tellKeys);
document.addEventListener("click", (event) => {
  if (!event.target.closest("[data-keys]")) return;
  if (localStorage.getItem(KEYS_OFF)) localStorage.removeItem(KEYS_OFF);
  else localStorage.setItem(KEYS_OFF, "1");
  tellKeys();
});
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target) || localStorage.getItem(KEYS_OFF)) return;
  document.querySelector(`[data-key="${CSS.escape(event.key)}"]`)?.click();
});

// What was typed to be added to a list is a value once the form comes back; a morph alone would leave the words standing.
const typedToAdd = new WeakMap();
const listFields = () => document.querySelectorAll("#segment input[list]");
document.addEventListener("htmx:before:request", () => {
  for (const field of listFields()) typedToAdd.set(field, field.value);
});
document.addEventListener("htmx:after:swap", (event) => {
  if (targetOf(event) !== "segment") return;
  for (const field of listFields()) if (field.value === typedToAdd.get(field)) field.value = field.getAttribute("value") ?? "";
});

// A file may be dropped on the form that takes it; the plain field does the rest.
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    const form = event.target.closest?.("[data-drop]");
    if (!form || !event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    form.classList.toggle("over", kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files.length) form.querySelector("[type=file]").files = event.dataTransfer.files;
  });
}
