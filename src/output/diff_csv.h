/* diff.csv: how far each block's output moved, a line for each image, block, step and side; RFC 4180, but for lines that end in \n. */
#ifndef UDUMP_OUTPUT_DIFF_CSV_H
#define UDUMP_OUTPUT_DIFF_CSV_H

#include "output/text.h"
#include "unetdump.h"

/* Appends a line, the header before the first. Numbers have nine digits, a point in every locale, and are nan or inf where they are not
 * finite. The block's name is one that can stand in a file's. false without memory. */
bool udump_diff_csv_add(udump_text *text, const udump_place *place, const udump_diff_norms *norms);
/* Appends lines that were formatted before, the header before the first. */
bool udump_diff_csv_add_rows(udump_text *text, const char *rows, size_t size);
/* What of the text stands behind `begin` bytes, without the header. */
const char *udump_diff_csv_rows(const udump_text *text, size_t begin, size_t *size);

#endif
