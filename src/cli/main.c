/* The program gradiometer: one process. */
#include "cli/program.h"

int main(int argc, char **argv)
{
    return gm_program_alone(argc, argv);
}
