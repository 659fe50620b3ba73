/* log, sin and cos for the noise, from + - * / alone, so that every machine rounds alike: IEEE 754 fixes those (and sqrt), but
 * leaves libm's transcendentals to each libm. Needs double arithmetic in double (FLT_EVAL_METHOD 0) and -ffp-contract=off.
 * Absolute errors stay below 1e-14 (tests/unit/test_random.c measures them against libm), far inside the float32 results. */
#ifndef UDUMP_SAMPLE_ELEMENTARY_H
#define UDUMP_SAMPLE_ELEMENTARY_H

/* Natural logarithm; value is normal, finite and positive. */
double udump_exact_log(double value);

/* Sine and cosine of an angle in radians, in [0, 6.5]: one turn, a little more for a turn that was rounded up to float32. */
void udump_exact_sin_cos(double angle, double *sine, double *cosine);

#endif
