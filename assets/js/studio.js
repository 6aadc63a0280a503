// Served with the page. Nothing here reads or writes what a person typed.
