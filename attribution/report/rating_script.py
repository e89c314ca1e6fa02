"""The script of the rating part: keeps ratings in the browser and gives them out as a CSV."""

SCRIPT = """
"use strict";
const facts = JSON.parse(document.getElementById("facts").textContent);
const columns = ["dataset", "model", "seed", "method", "sign", "record", "window", "target"];
const cards = [...document.querySelectorAll(".card")];
const state = document.getElementById("state");
let ratings = {};

try {
  ratings = JSON.parse(localStorage.getItem(facts.key)) || {};
} catch (error) {
  ratings = {};
}

function keep() {
  const done = cards.filter((card) => (ratings[card.dataset.map] || {}).rating).length;
  state.textContent = `${done} of ${cards.length} rated.`;
  try {
    localStorage.setItem(facts.key, JSON.stringify(ratings));
  } catch (error) {
    state.textContent += " This browser keeps nothing for local files: save the CSV before you leave.";
  }
}

function show(card) {
  const { rating, comment } = ratings[card.dataset.map] || {};
  for (const choice of card.querySelectorAll("input")) choice.checked = choice.value === rating;
  card.querySelector("textarea").value = comment || "";
  card.classList.toggle("rated", Boolean(rating));
}

document.addEventListener("change", (event) => {
  if (event.target.id === "rater") {
    ratings.rater = event.target.value.trim();
    keep();
    return;
  }
  const card = event.target.closest(".card");
  if (!card) return;
  const chosen = card.querySelector("input:checked");
  const rating = { rating: chosen ? chosen.value : "", comment: card.querySelector("textarea").value.trim() };
  ratings[card.dataset.map] = rating;
  show(card);
  keep();
});

function cell(value) {
  let text = value === undefined || value === null ? "" : String(value);
  if (/^[=+@-]/.test(text)) text = "'" + text;  // a spreadsheet would run it as a formula
  return /[",\\r\\n]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
}

document.getElementById("save").addEventListener("click", () => {
  const lines = [["rater", "map", "rating", "comment", ...columns].join(",")];
  for (const card of cards) {
    const number = card.dataset.map;
    const { rating, comment } = ratings[number] || {};
    if (!rating && !comment) continue;
    const hidden = JSON.parse(atob(facts.maps[number - 1]));
    const values = [ratings.rater, number, rating, comment, ...columns.map((name) => hidden[name])];
    lines.push(values.map(cell).join(","));
  }
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([lines.join("\\n") + "\\n"], { type: "text/csv" }));
  link.download = "map_ratings.csv";
  link.click();
  URL.revokeObjectURL(link.href);
});

document.getElementById("clear").addEventListener("click", () => {
  if (!confirm("Delete all ratings of this page from this browser?")) return;
  ratings = {};
  document.getElementById("rater").value = "";
  cards.forEach(show);
  keep();
});

document.getElementById("rater").value = ratings.rater || "";
cards.forEach(show);
keep();
"""
