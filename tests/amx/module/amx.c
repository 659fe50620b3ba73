/* Lets user programs use AMX's tiles under the emulator, whose processor lacks the feature (XFD) by which Linux shares them out: the kernel is told of no AMX
 * (clearcpuid=amx_tile), and the tiles are switched on behind its back. It does not keep them from one task to the next, so that one thread at a time may use them. */
#include <linux/module.h>

static int __init amx_open(void) {
    u32 low, high;
    asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    low |= 3u << 17; /* XTILECFG, XTILEDATA */
    asm volatile("xsetbv" : : "a"(low), "d"(high), "c"(0));
    return 0;
}
module_init(amx_open);
MODULE_DESCRIPTION("AMX tiles for one task");
MODULE_LICENSE("GPL");
