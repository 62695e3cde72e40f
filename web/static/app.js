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
  if (event.key === "Escape" && chip) {
    chip.open = false;
    chip.querySelector("summary").focus();
    return;
  }
  const everywhere = (event.ctrlKey || event.metaKey) && event.key === "k";
  const here = event.key === "/" && !event.ctrlKey && !event.metaKey && !event.altKey && !isTyping(event.target);
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
  lastTyped.setRangeText(button.dataset.insert, lastTyped.selectionStart, lastTyped.selectionEnd, "end");
  lastTyped.focus();
  lastTyped.dispatchEvent(new InputEvent("input", { bubbles: true }));
});

// Ctrl+Enter saves the form in which one is typing.
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target.form) {
    event.preventDefault();
    event.target.form.requestSubmit();
  }
});
