"""The script of the gallery: keeps ratings in the browser and gives them out as a CSV."""

SCRIPT = """
"use strict";
const facts = JSON.parse(document.getElementById("facts").textContent);
const fields = ["representativeness", "clarity", "best", "bad", "comment"];
const state = document.getElementById("state");
let ratings = {};

function store(action) {
  try {
    action();
    state.textContent = Object.keys(ratings).length + " rated.";
  } catch (error) {
    state.textContent = "This browser keeps no ratings for local files: download them before you leave.";
  }
}

function load() {
  store(() => { ratings = JSON.parse(localStorage.getItem(facts.key)) || {}; });
}

function save() {
  store(() => localStorage.setItem(facts.key, JSON.stringify(ratings)));
}

function show(card) {
  const rating = ratings[card.dataset.prototype] || {};
  for (const name of fields) {
    const field = card.querySelector(`[name=${name}]`);
    if (field.type === "checkbox") field.checked = Boolean(rating[name]);
    else field.value = rating[name] || "";
  }
  card.classList.toggle("best", Boolean(rating.best));
  card.classList.toggle("bad", Boolean(rating.bad));
}

function read(card) {
  const rating = {};
  for (const name of fields) {
    const field = card.querySelector(`[name=${name}]`);
    const value = field.type === "checkbox" ? field.checked : field.value.trim();
    if (value) rating[name] = value;
  }
  if (Object.keys(rating).length) ratings[card.dataset.prototype] = rating;
  else delete ratings[card.dataset.prototype];
}

// A class has one best prototype, and that is not a bad one.
document.addEventListener("change", (event) => {
  const card = event.target.closest(".card");
  if (!card) return;
  if (event.target.name === "best" && event.target.checked) {
    card.querySelector("[name=bad]").checked = false;
    for (const other of card.parentElement.querySelectorAll(".card")) {
      if (other === card) continue;
      other.querySelector("[name=best]").checked = false;
      read(other);
      show(other);
    }
  }
  if (event.target.name === "bad" && event.target.checked) card.querySelector("[name=best]").checked = false;
  read(card);
  show(card);
  save();
});

// A comment is kept while it is typed: who closes the page has not left the field yet.
document.addEventListener("input", (event) => {
  const card = event.target.closest(".card");
  if (!card || event.target.name !== "comment") return;
  read(card);
  save();
});

function cell(value) {
  let text = value === undefined || value === null ? "" : String(value);
  if (/^[=+@-]/.test(text)) text = "'" + text;  // a spreadsheet would run it as a formula
  return /[",\\r\\n]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
}

document.getElementById("download").addEventListener("click", () => {
  const lines = [["prototype", "classes", "branch", "ecg_id", ...fields].join(",")];
  for (const [index, rating] of Object.entries(ratings)) {
    const { classes, branch, ecg_id } = facts.prototypes[index];
    lines.push([index, classes, branch, ecg_id, ...fields.map((name) => rating[name])].map(cell).join(","));
  }
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([lines.join("\\n") + "\\n"], { type: "text/csv" }));
  link.download = "prototype_ratings.csv";
  link.click();
  URL.revokeObjectURL(link.href);
});

document.getElementById("clear").addEventListener("click", () => {
  if (!confirm("Delete all ratings of this page from this browser?")) return;
  ratings = {};
  document.querySelectorAll(".card").forEach(show);
  save();
});

load();
document.querySelectorAll(".card").forEach(show);
"""
