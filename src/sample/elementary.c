#include "sample/elementary.h"

#include <math.h>

/* ln(2 ** exponent * m) = exponent * ln 2 + 2 artanh(s), s = (m - 1) / (m + 1), with m in [sqrt(1/2), sqrt(2)], so |s| < 0.172:
 * artanh(s) / s = 1 + s^2/3 + s^4/5 + ...; after s^22/23 the rest is below 1e-19. */
double udump_exact_log(double value) {
    int exponent;
    double m = frexp(value, &exponent); /* exact */
    if (m < M_SQRT1_2) {
        m *= 2;
        exponent--;
    }
    double s = (m - 1) / (m + 1), square = s * s, series = 0;
    for (int odd = 23; odd >= 1; odd -= 2) series = series * square + 1.0 / odd;
    return exponent * M_LN2 + 2 * s * series;
}

/* The quarter turn q nearest to the angle leaves |r| <= pi/4 + a rounding. M_PI_2 ends in three zero bits, so q * M_PI_2 is exact
 * for q <= 4, and so is the first difference (Sterbenz); what M_PI_2 lacks of pi/2 goes off afterwards.
 * Taylor's series then: the first terms left out are r^19/19! < 1e-19 and r^20/20! < 1e-20. */
void udump_exact_sin_cos(double angle, double *sine, double *cosine) {
    static const double half_pi_rest = 0x1.1a62633145c07p-54; /* pi/2 - M_PI_2 */
    int quarter = (int)(angle * M_2_PI + 0.5);
    double r = (angle - quarter * M_PI_2) - quarter * half_pi_rest, square = r * r;
    double s = 1, c = 1;
    for (int k = 17; k >= 3; k -= 2) s = 1 - s * square / (k * (k - 1));
    for (int k = 18; k >= 2; k -= 2) c = 1 - c * square / (k * (k - 1));
    s *= r;
    *sine = quarter & 1 ? c : s;
    *cosine = quarter & 1 ? s : c;
    if (quarter & 2) *sine = -*sine;
    if ((quarter + 1) & 2) *cosine = -*cosine;
}
