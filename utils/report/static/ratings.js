"use strict";
// Ratings of the cards of a page: kept in this browser, downloaded as CSV, never sent.
// facts: {key, file, card, columns, cards: {number: {column: value} or that object as base64}}
const facts = JSON.parse(document.getElementById("facts").textContent);
const cards = [...document.querySelectorAll(".card")];
const state = document.getElementById("state");
const rater = document.getElementById("rater");
let ratings = {};

try {
  ratings = JSON.parse(localStorage.getItem(facts.key)) || {};
} catch (error) {
  ratings = {};
}

function fieldsOf(card) {
  return [...card.querySelectorAll("[data-field]")];
}

function show(card) {
  const rating = ratings[card.dataset.card] || {};
  for (const field of fieldsOf(card)) {
    const value = rating[field.dataset.field];
    if (field.type === "checkbox") card.classList.toggle(field.dataset.field, field.checked = Boolean(value));
    else if (field.type === "radio") field.checked = field.value === value;
    else field.value = value || "";
  }
  card.classList.toggle("rated", Object.keys(rating).length > 0);
}

function read(card) {
  const rating = {};
  for (const field of fieldsOf(card)) {
    const toggle = field.type === "checkbox" || field.type === "radio";
    const value = toggle ? field.checked && (field.type === "checkbox" || field.value) : field.value.trim();
    if (value) rating[field.dataset.field] = value;
  }
  if (Object.keys(rating).length) ratings[card.dataset.card] = rating;
  else delete ratings[card.dataset.card];
}

function save() {
  const rated = cards.filter((card) => ratings[card.dataset.card]).length;
  state.textContent = `${rated} of ${cards.length} rated.`;
  try {
    localStorage.setItem(facts.key, JSON.stringify(ratings));
  } catch (error) {
    state.textContent += " This browser keeps no ratings for local files: download the CSV before you leave.";
  }
}

function update(event) {
  const card = event.target.closest(".card");
  if (card) {
    read(card);
    if (event.type === "change") show(card);
  } else if (event.target === rater) {
    ratings.rater = rater.value.trim();
  } else {
    return;
  }
  save();
}

document.addEventListener("change", update);
document.addEventListener("input", update);  // a comment is kept while it is typed: the page may be closed

function cell(value) {
  let text = value === undefined || value === null ? "" : String(value);
  if (/^[=+@\t\r-]/.test(text)) text = "'" + text;  // a spreadsheet would run it as a formula
  return /[",\r\n]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
}

document.getElementById("download").addEventListener("click", () => {
  const lines = [facts.columns.join(",")];
  for (const card of cards) {
    const number = card.dataset.card;
    if (!ratings[number]) continue;
    const known = facts.cards[number];
    const hidden = typeof known === "string" ? JSON.parse(atob(known)) : known;
    const values = { ...hidden, ...ratings[number], rater: ratings.rater, [facts.card]: number };
    lines.push(facts.columns.map((name) => cell(values[name])).join(","));
  }
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([lines.join("\n") + "\n"], { type: "text/csv" }));
  link.download = facts.file;
  link.click();
  URL.revokeObjectURL(link.href);
});

document.getElementById("clear").addEventListener("click", () => {
  if (!confirm("Delete all ratings of this page from this browser?")) return;
  ratings = {};
  if (rater) rater.value = "";
  cards.forEach(show);
  save();
});

if (rater) rater.value = ratings.rater || "";
cards.forEach(show);
save();
