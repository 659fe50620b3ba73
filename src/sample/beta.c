/* The Beta distribution with both shapes equal. */
#include <math.h>

#include "sample/schedule.h"

enum { TERMS = 200, HALVINGS = 100 };

/* The regularized incomplete beta function I_x(a, a) for 0 < x <= 1/2 by its continued fraction (DLMF 8.17.22), from the last term up;
 * it converges for x < (a + 1) / (2a + 2) = 1/2, slowest at 1/2: the terms there are far more than double needs. */
static double integral(double x, double a) {
    double fraction = 1;
    for (int32_t k = TERMS; k >= 1; k--) {
        int32_t m = k / 2;
        double term = k % 2 ? -(a + m) * (2 * a + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
                            : m * (a - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        fraction = 1 + term / fraction;
    }
    double complete = tgamma(a) * tgamma(a) / tgamma(2 * a); /* the function B(a, a) */
    return pow(x * (1 - x), a) / (a * complete * fraction);
}

double udump_beta_quantile(double probability, double shape) {
    if (probability > 0.5) return 1 - udump_beta_quantile(1 - probability, shape); /* symmetric */
    double low = 0, high = 0.5;
    for (int32_t i = 0; probability > 0 && i < HALVINGS; i++) {
        double middle = (low + high) / 2;
        if (integral(middle, shape) < probability) low = middle;
        else high = middle;
    }
    return probability > 0 ? high : 0;
}
