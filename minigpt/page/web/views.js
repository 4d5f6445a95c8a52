// The views of the page, in the order of their tabs. A view is a file: export const view = {id, title, shows(app,
// place), render(app, place)}. render returns an element, or a promise of one; shows the names of the activations in it,
// of which the panel says what they are ("h.*.resid" is that of every block). A view of other numbers has no shows.

import { view as activation } from "./view_activation.js";
import { view as attention } from "./view_attention.js";
import { view as beams } from "./view_beams.js";
import { view as changes } from "./view_changes.js";
import { view as compare } from "./view_compare.js";
import { view as lens } from "./view_lens.js";
import { view as mlp } from "./view_mlp.js";
import { view as next } from "./view_next.js";
import { view as norm } from "./view_norm.js";
import { view as overview } from "./view_overview.js";
import { view as stream } from "./view_stream.js";
import { view as vectors } from "./view_vectors.js";

export const VIEWS = [overview, activation, attention, vectors, mlp, norm, stream, lens, next, beams, compare, changes];

export function viewOf(place) {
  return VIEWS.find((view) => view.id === place.view) ?? overview;
}
