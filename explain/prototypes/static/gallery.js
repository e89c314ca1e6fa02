// A class has at most one best prototype, and a bad one is not the best. Runs before ratings.js reads the card.
document.addEventListener("change", (event) => {
  const field = event.target.dataset.field;
  if (!event.target.checked || (field !== "best" && field !== "bad")) return;
  const card = event.target.closest(".card");
  card.querySelector(`[data-field=${field === "best" ? "bad" : "best"}]`).checked = false;
  if (field === "bad") return;
  for (const other of card.parentElement.querySelectorAll(".card")) {
    if (other === card) continue;
    other.querySelector("[data-field=best]").checked = false;
    read(other);
    show(other);
  }
}, true);
