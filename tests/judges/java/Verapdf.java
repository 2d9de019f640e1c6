// One line for each file and standard: path, standard, true or false, what was found.

import java.io.FileInputStream;
import org.verapdf.gf.foundry.VeraGreenfieldFoundryProvider;
import org.verapdf.pdfa.Foundries;
import org.verapdf.pdfa.PDFAParser;
import org.verapdf.pdfa.flavours.PDFAFlavour;
import org.verapdf.pdfa.results.TestAssertion;
import org.verapdf.pdfa.results.ValidationResult;

public class Verapdf {
    static final PDFAFlavour[] STANDARDS = {PDFAFlavour.PDFA_3_A, PDFAFlavour.PDFUA_1};

    public static void main(String[] paths) throws Exception {
        VeraGreenfieldFoundryProvider.initialise();
        for (String path : paths) {
            for (PDFAFlavour standard : STANDARDS) {
                System.out.println(path + "\t" + standard.getId() + "\t" + judged(path, standard));
            }
        }
    }

    static String judged(String path, PDFAFlavour standard) throws Exception {
        try (PDFAParser parser =
                Foundries.defaultInstance().createParser(new FileInputStream(path), standard)) {
            ValidationResult result =
                    Foundries.defaultInstance().createValidator(standard, false).validate(parser);
            StringBuilder said = new StringBuilder();
            for (TestAssertion each : result.getTestAssertions()) {
                said.append(each.getRuleId().getClause()).append(": ");
                said.append(each.getMessage()).append(" at ");
                said.append(each.getLocation().getContext()).append("; ");
            }
            return result.isCompliant() + "\t" + said;
        }
    }
}
