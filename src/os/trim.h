/* Giving back pages that only the start needed. */
#ifndef OS_TRIM_H
#define OS_TRIM_H

/* Unmap the pages of program and libraries that were never written: code and constants. Those that
 * are used again come back from the page cache, at a minor fault each 64 KiB. Worth it once, when
 * a server has started: loading and relocating libraries touches far more than running does
 * (libmicrohttpd brings GnuTLS along: some 2 MB resident that serving never looks at). Any
 * thread; never fails. */
void os_trim_program(void);

/* Give free pages of the heap back to the kernel. Worth it after building an index, which leaves
 * 10 MB of freed small blocks per million keys in the allocator. Any thread; never fails. */
void os_trim_heap(void);

#endif
