/* SLEPc's eigensolvers (Hernandez, Roman, Vidal 2005, doi:10.1145/1089014.1089019) on a shell
 * matrix, whose products are those of a gm_row_product.
 *
 *   Krylov-Schur   thick-restart Lanczos, basis + 1 vectors of the rank's rows
 *   LOBPCG         block of k + GM_SLEPC_GUARDS, ten such blocks of vectors
 *
 * PETSc is not to speak for itself: nothing is printed, no signal is caught, no option of the
 * command is read, and its errors end up in one line of ours. */
#include "dist/slepc.h"

#include <limits.h>
#include <slepceps.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "dist/comm.h"

enum { MOST_RESTARTS = 300, MOST_ITERATIONS = 1000, BLOCKS_OF_LOBPCG = 10, WORK_VECTORS = 2 };

typedef struct problem {
    gm_slepc_task *task;
    MPI_Comm comm;
    Mat matrix;
    EPS eps;
    Vec *held; /* [starts + deflated] views of the task's arrays */
    size_t views;
    gm_status failed; /* of a product, which has its line in err */
    gm_error *err;
    char message[256]; /* what PETSc reported first */
} problem;

/* ---- PETSc, kept quiet ---- */

static MPI_Comm comm_of(const gm_team *team)
{
    return team ? ((const gm_dist *)team->self)->comm : MPI_COMM_SELF;
}

static PetscErrorCode begin(MPI_Comm comm)
{
    if (SlepcInitializeCalled) return 0;
    PETSC_COMM_WORLD = comm;
    PetscErrorCode code = PetscOptionsSetValue(NULL, "-no_signal_handler", "true");
    if (!code) code = PetscOptionsSetValue(NULL, "-skip_petscrc", "true");
    return code ? code : SlepcInitialize(NULL, NULL, NULL, NULL);
}

void gm_slepc_end(void)
{
    if (SlepcInitializeCalled) SlepcFinalize();
}

/* Keeps the first message, where the error arose; those above it only pass it on. */
static PetscErrorCode remember(MPI_Comm comm, int line, const char *function, const char *file,
                               PetscErrorCode code, PetscErrorType type, const char *message,
                               void *context)
{
    problem *s = context;
    (void)comm, (void)line, (void)file;
    if (type == PETSC_ERROR_INITIAL && !*s->message) {
        snprintf(s->message, sizeof s->message, "%s: %s", function ? function : "PETSc",
                 message ? message : "");
    }
    return code;
}

static gm_status explain(const problem *s, PetscErrorCode code)
{
    const char *general = NULL;
    if (code == 0) return GM_OK;
    if (s->failed != GM_OK) return s->failed;
    PetscErrorMessage(code, &general, NULL);
    return gm_fail(s->err, code == PETSC_ERR_MEM ? GM_ERR_MEMORY : GM_ERR_NUMERIC,
                   "eigenpairs of the %s: SLEPc reports error %d (%s)", s->task->product->op->name,
                   (int)code,
                   *s->message ? s->message
                   : general   ? general
                               : "unknown");
}

/* ---- what SLEPc calls ---- */

static PetscErrorCode multiply(Mat matrix, Vec x, Vec y)
{
    problem *s;
    const PetscScalar *v;
    PetscScalar *av;
    PetscErrorCode code = MatShellGetContext(matrix, &s);
    if (!code) code = VecGetArrayRead(x, &v);
    if (code) return code;
    code = VecGetArrayWrite(y, &av);
    if (!code) {
        s->failed = gm_row_product_apply(s->task->product, v, av, s->err);
        code = VecRestoreArrayWrite(y, &av);
    }
    PetscErrorCode restored = VecRestoreArrayRead(x, &v);
    return s->failed != GM_OK ? PETSC_ERR_USER : code ? code : restored;
}

static PetscErrorCode estimate_error(EPS eps, PetscScalar value, PetscScalar imaginary,
                                     PetscReal residual, PetscReal *estimate, void *context)
{
    const gm_slepc_task *task = ((const problem *)context)->task;
    double size = fmax(fabs(value), *task->least);
    (void)eps, (void)imaginary;
    *estimate = size > 0 ? residual / size : residual;
    return 0;
}

/* Products that the solver may take before it asks again. */
static size_t next_products(const gm_slepc_task *task)
{
    return task->block ? 4 * (task->k + GM_SLEPC_GUARDS) : task->basis;
}

static PetscErrorCode consider_stopping(EPS eps, PetscInt iterations, PetscInt most,
                                        PetscInt converged, PetscInt wanted,
                                        EPSConvergedReason *reason, void *context)
{
    gm_slepc_task *task = ((problem *)context)->task;
    PetscErrorCode code = EPSStoppingBasic(eps, iterations, most, converged, wanted, reason, NULL);
    size_t after = task->product->products + next_products(task);
    if (code || *reason != EPS_CONVERGED_ITERATING) return code;
    if (task->max_products > 0 && after > task->max_products) {
        task->limited = true;
        *reason = EPS_DIVERGED_ITS;
    }
    return 0;
}

/* ---- the problem as SLEPc has it ---- */

/* View of an array of the task's, a row of it, as a vector of PETSc's. */
static PetscErrorCode view(problem *s, double *row, Vec *made)
{
    const gm_rows *rows = &s->task->product->rows;
    return VecCreateMPIWithArray(s->comm, 1, (PetscInt)rows->count, (PetscInt)rows->size, row,
                                 made);
}

static PetscErrorCode view_rows(problem *s, size_t count, double *rows)
{
    PetscErrorCode code = 0;
    for (size_t j = 0; j < count && !code; j++) {
        code = view(s, rows + j * s->task->product->rows.count, &s->held[s->views]);
        s->views += !code;
    }
    return code;
}

static PetscErrorCode make_matrix(problem *s)
{
    const gm_rows *rows = &s->task->product->rows;
    PetscInt count = (PetscInt)rows->count, size = (PetscInt)rows->size;
    PetscErrorCode code = MatCreateShell(s->comm, count, count, size, size, s, &s->matrix);
    if (!code) code = MatShellSetOperation(s->matrix, MATOP_MULT, (void (*)(void))multiply);
    if (!code) code = MatSetOption(s->matrix, MAT_SYMMETRIC, PETSC_TRUE);
    return code;
}

/* LOBPCG without a preconditioner: the default one asks for the matrix's diagonal. */
static PetscErrorCode set_block_method(problem *s)
{
    ST transform;
    KSP solver;
    PC preconditioner;
    size_t k = s->task->k;
    double width = (double)(k + GM_SLEPC_GUARDS);
    PetscErrorCode code = EPSSetType(s->eps, EPSLOBPCG);
    if (!code) code = EPSSetDimensions(s->eps, (PetscInt)k, PETSC_DEFAULT, PETSC_DEFAULT);
    if (!code) code = EPSLOBPCGSetBlockSize(s->eps, (PetscInt)width);
    /* SLEPc has (1 - restart) width + 0.45, cut, for the number of guards. */
    if (!code) code = EPSLOBPCGSetRestart(s->eps, 1.0 - (GM_SLEPC_GUARDS - 0.2) / width);
    if (!code) code = EPSLOBPCGSetLocking(s->eps, PETSC_FALSE);
    if (!code) code = EPSGetST(s->eps, &transform);
    if (!code) code = STSetType(transform, STPRECOND);
    if (!code) code = STGetKSP(transform, &solver);
    if (!code) code = KSPGetPC(solver, &preconditioner);
    return code ? code : PCSetType(preconditioner, PCNONE);
}

static PetscErrorCode choose_method(problem *s)
{
    const gm_slepc_task *task = s->task;
    static const EPSWhich which[] = {[GM_WHICH_LA] = EPS_LARGEST_REAL,
                                     [GM_WHICH_SA] = EPS_SMALLEST_REAL,
                                     [GM_WHICH_LM] = EPS_LARGEST_MAGNITUDE};
    PetscErrorCode code = EPSSetWhichEigenpairs(s->eps, which[task->which]);
    if (code || task->block) return code ? code : set_block_method(s);
    code = EPSSetType(s->eps, EPSKRYLOVSCHUR);
    if (code) return code;
    return EPSSetDimensions(s->eps, (PetscInt)task->k, (PetscInt)task->basis, PETSC_DEFAULT);
}

/* The small eigenproblem is solved by one rank for all: ranks that each solve it may differ in the
 * last digit, decide otherwise by it, and wait for each other for ever. */
static PetscErrorCode share_projection(problem *s)
{
    DS projected;
    PetscErrorCode code = EPSGetDS(s->eps, &projected);
    return code ? code : DSSetParallel(projected, DS_PARALLEL_SYNCHRONIZED);
}

/* Where all basis vectors in one array would have more numbers than a PetscInt counts, each gets an
 * array of its own. */
static PetscErrorCode choose_storage(problem *s)
{
    BV basis;
    size_t longest =
        s->task->product->rows.size / (size_t)gm_team_size(s->task->product->rows.team);
    if (longest + 1 <= INT_MAX / (gm_slepc_vectors(s->task) + 1)) return 0;
    PetscErrorCode code = EPSGetBV(s->eps, &basis);
    return code ? code : BVSetType(basis, BVVECS);
}

static PetscErrorCode prepare(problem *s)
{
    gm_slepc_task *task = s->task;
    PetscInt most = task->block ? MOST_ITERATIONS : MOST_RESTARTS;
    PetscErrorCode code = make_matrix(s);
    if (!code) code = EPSCreate(s->comm, &s->eps);
    if (!code) code = EPSSetOperators(s->eps, s->matrix, NULL);
    if (!code) code = EPSSetProblemType(s->eps, EPS_HEP);
    if (!code) code = choose_method(s);
    if (!code) code = share_projection(s);
    if (!code) code = choose_storage(s);
    if (!code) code = EPSSetTolerances(s->eps, task->tol, most);
    if (!code) code = EPSSetConvergenceTestFunction(s->eps, estimate_error, s, NULL);
    if (!code) code = EPSSetStoppingTestFunction(s->eps, consider_stopping, s, NULL);
    if (!code) code = view_rows(s, task->starts, task->start);
    if (!code) code = view_rows(s, task->deflated, task->deflate);
    size_t starts = task->block || task->starts < 1 ? task->starts : 1;
    if (!code && starts) code = EPSSetInitialSpace(s->eps, (PetscInt)starts, s->held);
    if (!code && task->deflated) {
        code = EPSSetDeflationSpace(s->eps, (PetscInt)task->deflated, s->held + task->starts);
    }
    return code;
}

/* ---- the result ---- */

/* Rank of value[i] among count of them in descending order. */
static size_t place_of(size_t count, const double *value, size_t i)
{
    size_t place = 0;
    for (size_t j = 0; j < count; j++) {
        place += value[j] > value[i] || (value[j] == value[i] && j < i);
    }
    return place;
}

static PetscErrorCode extract(problem *s, double *found)
{
    gm_slepc_task *task = s->task;
    PetscInt converged;
    PetscErrorCode code = EPSGetConverged(s->eps, &converged);
    if (code) return code;
    task->count = (size_t)converged < task->k ? (size_t)converged : task->k;
    for (size_t i = 0; i < task->count && !code; i++) {
        code = EPSGetEigenvalue(s->eps, (PetscInt)i, &found[i], NULL);
    }
    for (size_t i = 0; i < task->count && !code; i++) {
        Vec row;
        size_t place = place_of(task->count, found, i);
        task->value[place] = found[i];
        code = view(s, task->vector + place * task->product->rows.count, &row);
        if (code) break;
        code = EPSGetEigenvector(s->eps, (PetscInt)i, row, NULL);
        PetscErrorCode freed = VecDestroy(&row);
        code = code ? code : freed;
    }
    return code;
}

static void drop(problem *s)
{
    EPSDestroy(&s->eps);
    MatDestroy(&s->matrix);
    for (size_t i = 0; i < s->views; i++) {
        VecDestroy(&s->held[i]);
    }
    gm_free(s->held);
}

gm_status gm_slepc_solve(gm_slepc_task *task, gm_error *err)
{
    problem s = {.task = task, .comm = comm_of(task->product->rows.team), .err = err};
    task->count = 0;
    task->limited = false;
    double *found = gm_alloc(task->k, sizeof *found, "eigenvalues", err);
    s.held = gm_alloc(task->starts + task->deflated, sizeof(Vec), "views of vectors", err);
    if (!found || !s.held) {
        gm_free(found);
        gm_free(s.held);
        return GM_ERR_MEMORY;
    }
    PetscErrorCode code = begin(s.comm);
    if (!code) code = PetscPushErrorHandler(remember, &s);
    if (!code) {
        code = prepare(&s);
        if (!code) code = EPSSolve(s.eps);
        if (!code) code = extract(&s, found);
        drop(&s);
        PetscPopErrorHandler();
    }
    gm_free(found);
    return explain(&s, code);
}

size_t gm_slepc_most(void)
{
    return (size_t)PETSC_MAX_INT;
}

size_t gm_slepc_vectors(const gm_slepc_task *task)
{
    size_t width = task->k + GM_SLEPC_GUARDS;
    return (task->block ? BLOCKS_OF_LOBPCG * width : task->basis + 1) + WORK_VECTORS;
}
