/* Giving back pages that only the start needed.
 *
 * How: dl_iterate_phdr() lists the loaded segments. Only segments mapped without write permission
 * are dropped: private, from a file, never modified, so that the kernel can read each page again.
 * Relocated constants (RELRO) belong to a writable segment and are left alone.
 * Failure modes: none; a segment the kernel does not want to drop stays. */
#include "os/trim.h"

#include <link.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

/* Relocations in code would be lost: such an object (none is built so today) is left alone. */
static bool has_text_relocations(const struct dl_phdr_info *info)
{
    for (int i = 0; i < info->dlpi_phnum; i++) {
        if (info->dlpi_phdr[i].p_type != PT_DYNAMIC)
            continue;
        const ElfW(Dyn) *entry = (const ElfW(Dyn) *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr);
        for (; entry->d_tag != DT_NULL; entry++)
            if (entry->d_tag == DT_TEXTREL ||
                (entry->d_tag == DT_FLAGS && (entry->d_un.d_val & DF_TEXTREL) != 0))
                return true;
    }
    return false;
}

static int trim_object(struct dl_phdr_info *info, size_t info_size, void *page_size)
{
    uintptr_t page = *(const uintptr_t *)page_size;

    (void)info_size;
    /* The vDSO is not from a file. */
    if (info->dlpi_phnum == 0 || has_text_relocations(info))
        return 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        if (segment->p_type != PT_LOAD || (segment->p_flags & PF_W) != 0)
            continue;
        uintptr_t from = (info->dlpi_addr + segment->p_vaddr) & ~(page - 1);
        uintptr_t to = info->dlpi_addr + segment->p_vaddr + segment->p_filesz;
        (void)madvise((void *)from, to - from, MADV_DONTNEED);
    }
    return 0;
}

void os_trim_program(void)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

    dl_iterate_phdr(trim_object, &page);
}

void os_trim_heap(void)
{
    (void)malloc_trim(0); /* says whether there was anything to give back */
}
